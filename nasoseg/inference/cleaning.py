"""Clean masks as asked: the largest component alone, holes filled."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nasoseg import labels
from nasoseg.errors import NasosegError

EVERY = "all"
"""Stands for every structure."""


@dataclass(frozen=True)
class Cleaning:
    """Say which structures are cleaned and how; none by default.

    Attributes:
        largest_component: Structures of which only the largest connected piece stays (voxels that touch at a corner
            are connected).
        fill_holes: Structures whose holes on each axial slice are filled.
    """

    largest_component: Collection[str] = ()
    fill_holes: Collection[str] = ()

    def bits(self, names: Sequence[str]) -> tuple[set[int], set[int]]:
        """Return the places in ``names`` of the structures whose largest component stays, and whose holes are filled.

        Raises:
            NasosegError: If one is not among ``names``.
        """
        return (
            _chosen(self.largest_component, names, what="largest_component"),
            _chosen(self.fill_holes, names, what="fill_holes"),
        )


def clean(planes: npt.NDArray[Any], names: Sequence[str], cleaning: Cleaning) -> list[str]:
    """Clean bit planes (z, h, w) in place, the largest component before the holes.

    Returns:
        Remarks: what was removed of which structure.

    Raises:
        NasosegError: If ``cleaning`` names a structure that is not there.
    """
    largest, filled = cleaning.bits(names)
    remarks = []
    for bit in sorted(largest | filled):
        one = planes.dtype.type(1) << planes.dtype.type(bit)
        mask = (planes & one) != 0
        box = _box(mask)
        if box is None:
            continue
        inside = mask[box]
        if bit in largest:
            kept, pieces = _largest(inside)
            if pieces > 1:
                removed = np.count_nonzero(inside) - np.count_nonzero(kept)
                remarks.append(f"{names[bit]}: {pieces - 1} smaller pieces removed ({removed} voxels)")
            inside = kept
        if bit in filled:
            inside = np.stack([ndimage.binary_fill_holes(plane) for plane in inside])
        planes[box] = np.where(inside, planes[box] | one, planes[box] & ~one)
    return remarks


def _chosen(wanted: Collection[str], names: Sequence[str], *, what: str) -> set[int]:
    if EVERY in wanted:
        return set(range(len(names)))
    try:
        return set(labels.positions(list(wanted), names, where="the model"))
    except NasosegError as error:
        raise NasosegError(f"{what}: {error}") from error


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...] | None:
    box: list[slice] = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not found.size:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _largest(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], int]:
    """Return the largest piece, the first of equals, and the number of pieces."""
    numbered, pieces = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if pieces < 2:
        return mask, int(pieces)
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    return numbered == sizes.argmax(), int(pieces)
