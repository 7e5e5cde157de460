"""Find shipped configs by their bare name."""

from importlib.resources import files
from pathlib import Path

from nasoseg.errors import NasosegError, nearest


def config_argument(arguments: list[str]) -> list[str]:
    """Replace bare names after ``--config`` or ``-c`` by the path of the shipped config of that name.

    Raises:
        NasosegError: If there is neither such a file nor such a config; names the nearest ones.
    """
    result = list(arguments)
    for place, argument in enumerate(result):
        if argument in ("--config", "-c") and place + 1 < len(result):
            result[place + 1] = _find(result[place + 1])
        elif argument.startswith("--config="):
            result[place] = "--config=" + _find(argument.removeprefix("--config="))
    return result


def _find(name: str) -> str:
    if Path(name).is_file():
        return name
    shipped = {
        path.name.removesuffix(".yaml"): path
        for path in files("nasoseg.configs").iterdir()
        if path.name.endswith(".yaml")
    }
    if name.removesuffix(".yaml") in shipped:
        return str(shipped[name.removesuffix(".yaml")])
    raise NasosegError(
        f"--config: no file {name!r}, and no config of that name comes with nasoseg: {nearest(name, shipped)}"
    )
