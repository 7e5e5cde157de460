"""A trained task as a model to segment with."""

from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasoseg.errors import NasosegError
from nasoseg.heads import probabilities
from nasoseg.inference.model import Model, Precision
from nasoseg.models.blocks import evaluating
from nasoseg.models.folding import fold_normalisation
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.memory import is_out_of_memory


class TaskModel(Model):
    """Run a task where it is.

    Args:
        task: Run in evaluation mode, whatever mode it is in. It stays as it is, and must not be trained on while this
            is used: batch normalisations are folded into the weights of convolutions, of now.
        precision: What its network computes in; probabilities are float32 either way.

    Raises:
        NasosegError: If the task is on a GPU without bfloat16, and is to compute in it.
    """

    def __init__(self, task: SegmentationTask, *, precision: Precision = "32") -> None:
        if precision not in get_args(Precision):
            raise NasosegError(f"precision: found {precision!r}, expected {' or '.join(get_args(Precision))}")
        on_gpu = task.device.type == "cuda"
        if precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise NasosegError(f"precision: {torch.cuda.get_device_name(task.device)} has no bfloat16: use 32")
        with evaluating(task):
            self.task = fold_normalisation(task)
        self.precision = precision
        self.labels = task.labels
        self.head = task.head
        self.in_channels = task.in_channels
        self.training_data = task.training_data
        self.device = str(task.device)
        if on_gpu:
            self.pixels_at_once = 2**23

    @torch.no_grad()
    def __call__(self, images: npt.NDArray[np.float32]) -> Tensor:
        """Map images (b, c, h, w) to probabilities (b, channels, h, w), float32, background channel included."""
        try:
            device = self.task.device
            bf16 = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")
            with evaluating(self.task), bf16:
                logits = self.task(torch.from_numpy(images).to(device))
            return probabilities(logits.float(), self.head)
        except RuntimeError as error:  # OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
