"""What all benchmarks are asked alike: threads, rounds, clock, device, and which alternatives."""

import argparse
import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import torch
from results import Results


def parser_of(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Make a parser with the shared arguments.

    Args:
        doc: The script's docstring.
        rounds: How often each alternative is timed by default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and of the runtimes")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--clock", choices=("cpu", "wall"), help="cpu for one thread on the processor, else wall")
    parser.add_argument("--pick", choices=("median", "shortest"), default="median", help="of the rounds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="alternatives whose name contains one of these")
    parser.add_argument("--out", type=Path, help="folder for the results as JSON and Markdown")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line, and set the threads accordingly."""
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # exported models go by it
    torch.set_num_threads(options.threads)
    if options.clock is None:
        options.clock = "cpu" if options.threads == 1 and options.device == "cpu" else "wall"
    if options.device.startswith("cuda"):
        torch.backends.cudnn.benchmark = True
    return options


def wanted(name: str, options: argparse.Namespace) -> bool:
    """Tell whether an alternative was asked for."""
    return options.only is None or any(part.lower() in name.lower() for part in options.only)


def synchronise(device: str) -> None:
    """Wait for a device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peer(module: str, results: Results, *, what: str, package: str | None = None) -> ModuleType | None:
    """Import a peer, or note that it is left out because it is not installed."""
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        results.leave_out(what, f"{package or module} is not installed ({error})")
        return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep peers from warning and printing."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
