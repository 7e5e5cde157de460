"""A scan as the network wants it: axial, on pixels like those of the training, windowed, with its neighbours."""

import numpy as np
import numpy.typing as npt

from nasoseg.data.resample import AIR_HU, resample_image, stored_grid
from nasoseg.data.training_data import TrainingData
from nasoseg.data.windows import window_channels
from nasoseg.volumes.volume import Geometry, Volume

_SAME_PIXEL = 0.02  # share by which pixels may lie beyond those of the training and stay as they are


class ScanInput:
    """Make a network's images from a CT.

    The slices are axial, as in a store. Pixels larger or smaller than any of the training's are resampled to the
    median of these; others stay. Slices are never resampled: neighbours that become channels are taken as many
    slices away as comes nearest to the training's distance.

    Args:
        volume: HU on the scan's own grid.
        training: How the model's images were made.

    Attributes:
        axial: The scan's grid in axial order.
        grid: The grid of the images: the same slices.
        step: Distance in slices of the neighbours that become channels.
    """

    def __init__(self, volume: Volume, training: TrainingData) -> None:
        axial = volume.axial()
        self.training = training
        self.axial = axial.geometry
        self.grid = _grid(axial.geometry, training)
        resampled = self.grid is not self.axial
        self._hu = resample_image(axial.array, self.axial, self.grid, outside=AIR_HU) if resampled else axial.array
        wanted = training.slice_mm
        self.step = max(1, round(wanted.median / self.axial.spacing_mm[0])) if wanted and training.context else 1

    def __len__(self) -> int:
        return self.grid.shape[0]

    @property
    def resampled(self) -> bool:
        """Whether the images have other pixels than the scan."""
        return self.grid is not self.axial

    def batch(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Return the images (b, c, h, w) float32 of the slices from ``start`` up to ``stop``."""
        context = self.training.context
        offsets = np.arange(-context, context + 1) * self.step
        wanted = np.clip(np.arange(start, stop)[:, None] + offsets, 0, len(self) - 1)  # (b, n)
        needed, places = np.unique(wanted, return_inverse=True)
        windowed = window_channels(np.moveaxis(self._hu[needed], 0, -1), self.training.windows_hu)
        of_window = windowed.reshape(len(self.training.windows_hu), len(needed), *windowed.shape[1:])
        chosen = of_window[:, places.reshape(wanted.shape)]  # (windows, b, n, h, w)
        images = np.moveaxis(chosen, 0, 1).reshape(stop - start, -1, *windowed.shape[1:])
        return np.ascontiguousarray(images)


def _grid(axial: Geometry, training: TrainingData) -> Geometry:
    known = training.pixel_mm
    if known is None or all(known.covers(float(side), tolerance=_SAME_PIXEL) for side in axial.spacing_mm[1:]):
        return axial
    return stored_grid(axial, pixel_mm=known.median)
