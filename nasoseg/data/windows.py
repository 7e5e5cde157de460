"""HU windows: what of a CT a network is shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

WindowHU = tuple[float, float]


def window_channels(image_hu: npt.NDArray[Any], windows_hu: Sequence[WindowHU]) -> npt.NDArray[np.float32]:
    """Show CT through HU windows, one channel each.

    Args:
        image_hu: (h, w, n) HU of n slices.
        windows_hu: Pairs (lowest, highest) HU.

    Returns:
        (n * windows, h, w) float32; a window's lowest HU and all below is -1, its highest and all above is 1. All
        slices of the first window come first.
    """
    slices = np.moveaxis(image_hu, -1, 0).astype(np.float32, copy=False)
    shown = [np.clip((slices - low) * (2 / (high - low)) - 1, -1, 1) for low, high in windows_hu]
    return np.ascontiguousarray(np.concatenate(shown), dtype=np.float32)
