"""The Python environment that nnU-Net is installed in: one of its own, because it pins and pulls in much."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from nasoseg.errors import NasosegError

TESTED = "2.8.1"
"""The version of nnunetv2 that this bridge was tested with."""

VARIABLE = "NASOSEG_NNUNET_PYTHON"
"""Environment variable that names the interpreter, where ``--nnunet-python`` does not."""

FOLDER = Path(".nnunet")
"""Environment in the current folder that ``--create-environment`` makes, and that is used where it is there."""

_ASK = (
    "import nnunetv2, torch, importlib.metadata, json, sysconfig;"
    " print(json.dumps([importlib.metadata.version('nnunetv2'), sysconfig.get_path('scripts'),"
    " torch.cuda.is_available()]))"
)


@dataclass(frozen=True)
class Environment:
    """Hold what is known of nnU-Net's environment.

    Attributes:
        python: Its interpreter.
        scripts: Where its commands are.
        version: Version of nnunetv2.
        cuda: Whether its torch finds a GPU.
    """

    python: Path
    scripts: Path
    version: str
    cuda: bool

    def command(self, name: str) -> str:
        """Return the path of one of nnU-Net's commands.

        Raises:
            NasosegError: If it is not there.
        """
        for path in (self.scripts / name, self.scripts / f"{name}.exe"):
            if path.is_file():
                return str(path)
        raise NasosegError(f"{self.scripts / name}: no such command: install nnunetv2 again: {_commands(self.python)}")


def find_environment(python: Path | None = None, *, create: bool = False) -> Environment:
    """Find the environment and ask it what it has.

    Looked for in ``python``, in ``$NASOSEG_NNUNET_PYTHON``, and in ``.nnunet`` of the current folder.

    Args:
        python: The interpreter.
        create: Make ``.nnunet`` where nothing is named and it is not there, or not whole: some 5 GB from PyPI.

    Raises:
        NasosegError: If there is none, with the commands to make one, or it has no working nnunetv2.
    """
    named = python or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    own = FOLDER.absolute() / "bin" / "python"
    if named is None and create:
        try:
            return _asked(own)
        except NasosegError:
            create_environment(FOLDER.absolute())
    chosen = own if named is None else named
    if not chosen.is_file():
        where = f"--nnunet-python: no interpreter {chosen}" if named else "--nnunet-python: not given"
        raise NasosegError(
            f"{where}: nnU-Net needs an environment of its own (5 GB): pass --create-environment, or make one with\n"
            f"  {_commands(own)}\nand name it with --nnunet-python or in ${VARIABLE} ({FOLDER} of the current folder is"
            " found without)"
        )
    return _asked(chosen.absolute())  # not resolved: a venv's interpreter is a link, and beside it are its commands


def create_environment(folder: Path) -> None:
    """Make a virtual environment and install nnunetv2 into it, with the torch that nasoseg runs on.

    Raises:
        NasosegError: If a command fails; says which.
    """
    for command in _steps(folder / "bin" / "python"):
        print(f"$ {' '.join(command)}", flush=True)
        code = subprocess.run(command, stdout=sys.stderr, check=False).returncode
        if code:
            raise NasosegError(f"--create-environment: `{' '.join(command)}` ended with {code}: see above")


def _steps(python: Path) -> list[list[str]]:
    torch = version("torch").partition("+")[0]
    torchvision = version("torchvision").partition("+")[0]
    packages = [f"nnunetv2=={TESTED}", f"torch=={torch}", f"torchvision=={torchvision}"]
    return [
        [sys.executable, "-m", "venv", str(python.parent.parent)],
        [str(python), "-m", "pip", "install", "--quiet", *packages],
    ]


def _commands(python: Path) -> str:
    return "\n  ".join(" ".join(step) for step in _steps(python))


def _asked(python: Path) -> Environment:
    try:
        asked = subprocess.run(
            [str(python), "-c", _ASK], capture_output=True, text=True, check=True, env=own_variables()
        )
        found, scripts, cuda = json.loads(asked.stdout.splitlines()[-1])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        raise NasosegError(
            f"{python}: no working nnunetv2 there ({' '.join(said)[:300]}): install it with\n"
            f"  {' '.join(_steps(python)[1])}"
        ) from error
    return Environment(python, Path(scripts), found, cuda)


def own_variables() -> dict[str, str]:
    """Return this process's environment variables without those that would lead to our own packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
