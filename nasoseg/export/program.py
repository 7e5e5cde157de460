"""A trained model as one graph: images in, probabilities of the structures out."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from nasoseg.errors import NasosegError
from nasoseg.heads import structure_probabilities
from nasoseg.inference.description import IMAGES
from nasoseg.tasks.base import SegmentationTask

_SHOWN = (2, 37, 53)  # slices, rows, columns: odd, so that whatever pads has to


class StructureProbabilities(nn.Module):
    """Map images (b, c, h, w), windowed to -1..1, to probabilities (b, k, h, w) of the structures.

    Args:
        task: In evaluation mode.
    """

    def __init__(self, task: SegmentationTask) -> None:
        super().__init__()
        self.network = task.network
        self.head = task.head
        self.in_channels = task.in_channels
        self._logits = task.forward  # not the task itself: torch.jit cannot read the attributes of a LightningModule

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, c, h, w) to probabilities (b, k, h, w), float32."""
        return structure_probabilities(self._logits(images).float(), self.head)

    def example(self) -> Tensor:
        """Return images to trace with."""
        slices, rows, columns = _SHOWN
        return torch.zeros(slices, self.in_channels, rows, columns)


def traced_program(network: StructureProbabilities) -> ExportedProgram:
    """Trace a model for any number of slices, rows and columns.

    Raises:
        NasosegError: If that is not possible, as where Python code branches on the values of pixels; names the part.
    """
    size = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    try:
        with quiet():
            return torch.export.export(network, (network.example(),), dynamic_shapes={IMAGES: size})
    except Exception as error:  # of a dozen unrelated types
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NasosegError(
            f"{_part(error.__traceback__, network)} cannot be exported ({first[:200]}): expected parts whose Python"
            " code does not depend on the values of pixels, as that of nasoseg.MaskRCNN does: segment with the run"
            " folder instead"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporters from printing graphs, and from warning of themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _part(trace: TracebackType | None, network: nn.Module) -> str:
    """Name the innermost part that was running."""
    names = {id(part): name for name, part in network.named_modules() if name}
    found = "the model"
    while trace is not None:
        part = trace.tb_frame.f_locals.get("self")
        if id(part) in names:
            found = f"{names[id(part)]} ({type(part).__qualname__})"
        trace = trace.tb_next
    return found
