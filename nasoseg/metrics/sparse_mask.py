"""A volume's mask that comes slice by slice, in the memory of what is true in it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Box = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Lowest (slice, row, column), and one past the highest."""


class SparseMask:
    """Keep of every slice the box around its true pixels, a bit a pixel. An empty slice takes no memory."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, int, int, npt.NDArray[np.uint8]]] = []

    def add(self, slice_: int, packed: npt.NDArray[np.uint8]) -> None:
        """Add a slice.

        Args:
            slice_: Its number.
            packed: (h, w / 8), eight columns a byte, as ``numpy.packbits`` makes them along the columns.
        """
        rows, columns = np.flatnonzero(packed.any(axis=1)), np.flatnonzero(packed.any(axis=0))
        if rows.size:
            box = packed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            self._parts.append((slice_, int(rows[0]), int(columns[0]), box.copy()))

    @property
    def box(self) -> Box | None:
        """The box around all true pixels, its columns to the next byte; None of an empty mask."""
        if not self._parts:
            return None
        low = np.array([[z, row, 8 * byte] for z, row, byte, _ in self._parts])
        sides = np.array([[1, part.shape[0], 8 * part.shape[1]] for *_, part in self._parts])
        return low.min(axis=0), (low + sides).max(axis=0)

    def voxels(self, box: Box) -> npt.NDArray[np.bool_]:
        """Return what lies in a box that holds the whole mask, from a column that is a multiple of 8."""
        (first, top, left), shape = box[0], box[1] - box[0]
        result = np.zeros(shape, np.bool_)
        for z, row, byte, part in self._parts:
            bits = np.unpackbits(part, axis=1).view(np.bool_)
            start = 8 * byte - left
            result[z - first, row - top : row - top + len(bits), start : start + bits.shape[1]] = bits
        return result


def common_voxels(masks: Sequence[SparseMask]) -> list[npt.NDArray[np.bool_]]:
    """Return masks of one volume as arrays of one shape: the box around all of them, or one voxel if all are empty."""
    boxes = [box for mask in masks if (box := mask.box) is not None]
    if not boxes:
        return [np.zeros((1, 1, 1), np.bool_) for _ in masks]
    around = np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)
    return [mask.voxels(around) for mask in masks]
