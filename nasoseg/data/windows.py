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
    slices = np.moveaxis(image_hu, -1, 0)
    channels = np.empty((len(windows_hu), *slices.shape), np.float32)
    for (low, high), of_window in zip(windows_hu, channels, strict=True):
        for hu, channel in zip(slices, of_window, strict=True):  # in place, a plane at a time: it stays in the cache
            np.subtract(hu, np.float32(low), out=channel, dtype=np.float32)
            channel *= 2 / (high - low)
            channel -= 1
            np.clip(channel, -1, 1, out=channel)
    return channels.reshape(-1, *slices.shape[1:])
