"""A trained task as a model to segment with."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasoseg.heads import probabilities
from nasoseg.inference.model import Model
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.memory import is_out_of_memory


class TaskModel(Model):
    """Run a task where it is.

    Args:
        task: In evaluation mode.
    """

    def __init__(self, task: SegmentationTask) -> None:
        self.task = task
        self.labels = task.labels
        self.head = task.head
        self.in_channels = task.in_channels
        self.training_data = task.training_data
        self.device = str(task.device)
        if task.device.type == "cuda":
            self.pixels_at_once = 2**23

    @torch.no_grad()
    def __call__(self, images: npt.NDArray[np.float32]) -> Tensor:
        """Map images (b, c, h, w) to probabilities (b, channels, h, w), float32, background channel included."""
        try:
            logits = self.task(torch.from_numpy(images).to(self.task.device))
            return probabilities(logits.float(), self.head)
        except RuntimeError as error:  # OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
