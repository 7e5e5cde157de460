"""Write a trained model for other programs, and see that it says what PyTorch says."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from nasoseg.errors import NasosegError, nearest, writing
from nasoseg.export.formats import Write, write_onnx, write_openvino, write_torchscript
from nasoseg.export.program import StructureProbabilities, quiet, traced_program
from nasoseg.files import whole_file
from nasoseg.inference.description import ModelDescription
from nasoseg.inference.exported import load_exported
from nasoseg.models.blocks import evaluating
from nasoseg.tasks.base import SegmentationTask

Format = Literal["onnx", "torchscript", "openvino"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIX_OF: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt", "openvino": ".xml"}
"""How the files end; beside an ``.xml`` lies a ``.bin``."""

TOLERANCE = 1e-4
"""Most by which a probability may differ from PyTorch's."""

_WRITERS: dict[Format, Write] = {"onnx": write_onnx, "torchscript": write_torchscript, "openvino": write_openvino}
_COMPARED = ((1, 64, 96), (3, 75, 50), (1, 320, 256))  # slices, rows, columns: as most networks want them, and odd


def export_model(
    task: SegmentationTask, path: str | os.PathLike[str], *, kind: Format = "onnx", force: bool = False
) -> float:
    """Write a trained model for other programs.

    The file maps ``images`` (b, c, h, w), float32, windowed to -1..1, to ``probabilities`` (b, k, h, w), float32, of
    the structures; b, h and w are free. It is compared with PyTorch before it gets its name.

    Args:
        task: From ``nasoseg.load``; it must say how its images are made.
        path: The file, with the ending of its kind (``SUFFIX_OF``); its folder must exist.
        kind: ``onnx``, ``torchscript`` or ``openvino``.
        force: Replace what is there.

    Returns:
        The largest difference of a probability from PyTorch's, on generated images.

    Raises:
        NasosegError: If the path is taken or cannot be written, a part of the network cannot be exported, the result
            differs by more than ``TOLERANCE``, or an extra is not installed.
    """
    path = Path(path)
    check_place(path, kind=kind, force=force)
    if task.training_data is None:
        raise NasosegError(
            f"{path}: the model does not say how its images were made: load it from its run folder, or set"
            " training_data"
        )
    with _on_cpu(task) as network:
        description = _description(task)
        program = traced_program(network)
        with writing(path), _whole_files(path) as temporary:
            _WRITERS[kind](temporary, network, program, description.to_json())
            difference = _difference(network, _runner(temporary, kind))
            if not difference <= TOLERANCE:
                raise NasosegError(
                    f"{path}: its probabilities differ from PyTorch's by {difference:.2g}, expected at most"
                    f" {TOLERANCE:g}: some part of the network depends on more than was traced, such as Python code"
                    " that branches on the size of the image; nothing was written"
                )
    return difference


def check_place(path: Path, *, kind: Format, force: bool) -> None:
    """Check that a model of this kind may be written there; arguments and errors are those of ``export_model``."""
    if kind not in FORMATS:
        raise NasosegError(f"kind {kind!r}: {nearest(kind, FORMATS)}")
    if path.suffix != SUFFIX_OF[kind]:
        raise NasosegError(f"{path}: expected a file that ends in {SUFFIX_OF[kind]}, as {kind} does")
    if not path.absolute().parent.is_dir():
        raise NasosegError(f"{path}: there is no folder {path.absolute().parent}: make it first")
    for file in (path, path.with_suffix(".bin")) if kind == "openvino" else (path,):
        if file.is_dir() or (file.exists() and not force):
            raise NasosegError(f"{file}: exists already: pass --force to overwrite it, or choose another name")


@contextlib.contextmanager
def _on_cpu(task: SegmentationTask) -> Iterator[StructureProbabilities]:
    """Lend a task out in evaluation mode on the CPU."""
    device = task.device
    with evaluating(task):
        try:
            yield StructureProbabilities(task.cpu()).eval()
        finally:
            task.to(device)


def _description(task: SegmentationTask) -> ModelDescription:
    assert task.training_data is not None
    # As `nasoseg fit` writes best.safetensors, so that the hash is that file's.
    weights = {name: tensor.detach().contiguous() for name, tensor in task.state_dict().items()}
    content = save(weights, metadata={"labels": "\n".join(task.labels)})
    return ModelDescription(
        labels=tuple(task.labels),
        head=task.head,
        in_channels=task.in_channels,
        training_data=task.training_data,
        weights_sha256=hashlib.sha256(content).hexdigest(),
        nasoseg=version("nasoseg"),
    )


@contextlib.contextmanager
def _whole_files(path: Path) -> Iterator[Path]:
    """Give a temporary name; of the two files of OpenVINO the .xml gets its final name last."""
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(whole_file(path))
        if path.suffix == ".xml":
            stack.enter_context(whole_file(path.with_suffix(".bin")))
        yield temporary


def _runner(path: Path, kind: Format) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    if kind != "torchscript":
        return load_exported(path, device="cpu").structure_probabilities
    jit: Any = torch.jit  # untyped
    with quiet():
        module = jit.load(path, map_location="cpu")
    return lambda images: module(torch.from_numpy(images)).numpy()


@torch.no_grad()
def _difference(
    network: StructureProbabilities, run: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
) -> float:
    draws = np.random.default_rng(0)
    largest = 0.0
    for slices, rows, columns in _COMPARED:
        images = draws.uniform(-1, 1, (slices, network.in_channels, rows, columns)).astype(np.float32)
        apart = np.abs(run(images) - network(torch.from_numpy(images)).numpy()).max()
        largest = float(np.maximum(largest, apart))  # NaN stays
    return largest
