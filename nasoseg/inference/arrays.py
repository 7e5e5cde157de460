"""Arrays of two kinds, NumPy's and torch's: the little that is spelled differently. NumPy's need no torch."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any
"""A NumPy array, or a torch tensor on any device."""


def like(array: npt.NDArray[Any], other: Array) -> Array:
    """Return an array as the kind that ``other`` is, of its type and on its device."""
    if isinstance(other, np.ndarray):
        return array.astype(other.dtype, copy=False)
    import torch

    return torch.from_numpy(array).to(other)


def on_host(array: Array) -> npt.NDArray[Any]:
    """Return an array as NumPy's."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def mirrored(array: Array) -> Array:
    """Reverse the columns, the last axis."""
    return array[..., ::-1] if isinstance(array, np.ndarray) else array.flip(-1)
