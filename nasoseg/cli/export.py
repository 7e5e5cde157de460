"""``nasoseg export``: a trained model as ONNX, TorchScript or OpenVINO."""

import argparse
from pathlib import Path

from nasoseg.errors import NasosegError

HELP = """write a trained model for other programs: ONNX, TorchScript or OpenVINO

The file maps windowed images to the probabilities of the structures, for any number of slices, rows and columns, and
says in its metadata what the structures are called and how images are made. Before it gets its name it is compared
with PyTorch. `nasoseg segment` takes .onnx and .xml in the place of a run."""
EXAMPLE = "nasoseg export runs/two_stage/fold0 --format onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add(
        "run", metavar="RUN", type=Path, help="run folder, checkpoint in one, or folder of runs, each of which is taken"
    )
    add("--format", metavar="NAME", default="onnx", help="onnx, torchscript or openvino (default: onnx)")
    add("--out", metavar="FILE", type=Path, help="file to write (default: model.onnx, .pt or .xml in the run folder)")
    add("--trust", action="store_true", help="let the run's config name classes of other packages")
    add("--force", action="store_true", help="overwrite a file that is there already")


def run(arguments: argparse.Namespace) -> int:
    """Export; 0 if all of it succeeded."""
    from nasoseg.export import FORMATS, SUFFIX_OF, check_place, export_model
    from nasoseg.inference.runs import find_runs
    from nasoseg.tasks.loading import load

    kind = arguments.format
    if kind not in FORMATS:
        raise NasosegError(f"--format: found {kind!r}, expected one of {', '.join(FORMATS)}")
    runs = find_runs(arguments.run)
    if arguments.out and len(runs) > 1:
        raise NasosegError(
            f"--out {arguments.out}: is one file, and {arguments.run} holds {len(runs)} runs: leave it out, and each"
            f" gets its own model{SUFFIX_OF[kind]}, or name one run"
        )
    suffix = SUFFIX_OF[kind]
    beside = [path.with_suffix(suffix) if path.is_file() else path / f"model{suffix}" for path in runs]
    targets = [arguments.out] if arguments.out else beside
    for target in targets:
        check_place(target, kind=kind, force=arguments.force)  # before the first of them takes its time
    for path, target in zip(runs, targets, strict=True):
        difference = export_model(load(path, trust=arguments.trust), target, kind=kind, force=arguments.force)
        size = sum(file.stat().st_size for file in {target, target.with_suffix(".bin")} if file.is_file())
        print(f"written: {target} ({size / 2**20:.1f} MiB; differs from PyTorch by {difference:.1g} at most)")
    return 0
