"""What a scan is segmented with: anything that maps images to probabilities."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from nasoseg.data.training_data import TrainingData
from nasoseg.inference.arrays import Array

if TYPE_CHECKING:  # it imports torch
    from nasoseg.heads import Head

Precision = Literal["32", "bf16"]
"""What a network computes in: float32, or bfloat16 where torch's autocast sees no harm in it."""


class Model(ABC):
    """Map images to probabilities.

    Attributes:
        labels: The structures.
        head: What the channels mean.
        in_channels: Channels of an image.
        training_data: How the images are made; None where it is not known.
        device: Where it runs, in words.
        pixels_at_once: Most pixels of a batch: more is no faster.
    """

    labels: list[str]
    head: "Head"
    in_channels: int
    training_data: TrainingData | None
    device: str = "cpu"
    pixels_at_once: int = 2**19  # docs/segment.md

    @abstractmethod
    def __call__(self, images: npt.NDArray[np.float32]) -> Array:
        """Map images (b, c, h, w) to probabilities (b, channels, h, w), float32, background channel included.

        Raises:
            MemoryError: If memory does not suffice for so many slices.
        """
