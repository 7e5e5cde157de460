"""The command line: ``nasoseg COMMAND ...``. Finds the command and words its errors; imports nothing heavy."""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from importlib.metadata import version

from nasoseg.cli.configs import config_argument
from nasoseg.cli.disk_errors import is_disk_error, word_disk_error
from nasoseg.errors import NasosegError, nearest

COMMANDS = {
    "prepare": "make a store from folders of CT and structures",
    "structures": "list the structure names in a folder and what they mean",
    "info": "print what a store holds",
    "check": "verify a store and its checksums",
    "split": "deal a store's patients (or slices) to folds",
    "fit": "train a model, then test it on the patients it has not seen",
    "validate": "measure a checkpoint on the validation patients",
    "test": "measure a checkpoint on the test patients and write metrics.csv",
    "predict": "write a checkpoint's masks of the test patients as NIfTI",
    "segment": "segment scans: DICOM or NIfTI in, RTSTRUCT, DICOM SEG or NIfTI out",
    "export": "write a trained model for other programs: ONNX, TorchScript, OpenVINO",
    "evaluate": "measure masks of any program against true masks",
    "report": "write one HTML page: tables, statistics, figures, worst cases",
    "view": "show one study in the browser: CT and structures in three planes",
    "nnunet": "train and test the real nnU-Net on a fold of the same split",
    "benchmark": "compare methods on the same folds, with statistics and figures",
}
_TRAINING = ("fit", "validate", "test", "predict")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 only when all of it succeeded."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a path need not be text in the terminal's encoding
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if given[0] == "--version":
        print(f"nasoseg {version('nasoseg')}")
        return 0
    command, *rest = given
    try:
        if command not in COMMANDS:
            raise NasosegError(f"command {command!r}: {nearest(command, COMMANDS)} See `nasoseg --help`.")
        if command in _TRAINING:
            rest = config_argument(rest)  # before torch is imported: a wrong name is told at once
            from nasoseg.cli.training import run_training

            return run_training(command, rest)
        return _run_plain(command, rest)
    except NasosegError as error:
        print(f"nasoseg {command}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nnasoseg {command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        if not is_disk_error(error):
            raise
        print(f"nasoseg {command}: error: {word_disk_error(error)}", file=sys.stderr)
        return 1


def _run_plain(command: str, rest: list[str]) -> int:
    module = importlib.import_module(f"nasoseg.cli.{command}")
    parser = argparse.ArgumentParser(
        prog=f"nasoseg {command}",
        description=module.HELP,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    arguments, unknown = parser.parse_known_args(rest)
    if getattr(module, "TAKES_REST", False):  # it hands them on
        arguments.rest = unknown
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = module.run(arguments)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {line}" for name, line in COMMANDS.items())
    return (
        "usage: nasoseg COMMAND ...\n\nSegment tissues in head-and-neck CT with a two-stage U-Net.\n\n"
        f"commands:\n{listed}\n\n`nasoseg COMMAND --help` says more. Start with: nasoseg fit --config sample"
    )
