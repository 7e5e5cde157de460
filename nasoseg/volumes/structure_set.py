"""Named masks on the grid of one CT, packed so that forty structures fit in memory, and what was said of each."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError, nearest

Found = TypeVar("Found")


class PackedMask:
    """Hold a 3-D mask as bits of its bounding box: at most an eighth of a byte a voxel.

    Args:
        mask: Mask of any shape (z, h, w).

    Attributes:
        shape: Shape of the whole mask.
        voxels: Number of voxels inside.
    """

    def __init__(self, mask: npt.NDArray[np.bool_]) -> None:
        self.shape: tuple[int, ...] = mask.shape
        box = []
        for axis in range(mask.ndim):  # the slices first, so that the other axes look at few of them
            inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
            found = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
            mask = mask[(slice(None),) * axis + (found,)]
            box.append(found)
        self._box, self._boxed = tuple(box), mask.shape
        self._bits = np.packbits(mask)
        self.voxels = int(np.bitwise_count(self._bits).sum())

    def unpack(self) -> npt.NDArray[np.bool_]:
        """Return the whole mask, a new array."""
        whole = np.zeros(self.shape, bool)
        count = int(np.prod(self._boxed))
        whole[self._box] = np.unpackbits(self._bits, count=count).astype(bool).reshape(self._boxed)
        return whole


def checked_mask(name: str, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Check that a mask is on the CT's grid, of ``shape``, and turn one of 0 and 1 into bool.

    Raises:
        NasosegError: If its shape is another, or it is neither bool nor of whole numbers.
    """
    mask = np.asarray(mask)
    if mask.shape != shape or mask.dtype.kind not in "bui":
        raise NasosegError(
            f"structure {name!r}: found a mask {mask.shape} of {mask.dtype}, expected {shape} of bool, on the grid of"
            " the CT: decide and resample first"
        )
    return mask.astype(bool, copy=False)


@dataclass(frozen=True)
class Roi:
    """Describe one structure of a file.

    Attributes:
        name: Its name, unique in the file.
        number: ROI number (RTSTRUCT) or segment number (SEG).
        interpreted_type: ``ORGAN``, ``PTV`` ... as the file says, empty where it does not.
        colour: Red, green, blue in 0..255, None where the file does not say.
        remarks: What of it was left out, moved or odd, in words.
    """

    name: str
    number: int
    interpreted_type: str = ""
    colour: tuple[int, int, int] | None = None
    remarks: tuple[str, ...] = ()


def own_name(name: str, number: int, taken: Container[str]) -> str:
    """Return a name that is not taken: itself, or with its number: ``Heart (12)``."""
    name = name or f"ROI {number}"
    while name in taken:
        name += f" ({number})"
    return name


def chosen(path: Path, by_name: Mapping[str, Found], names: Iterable[str] | None) -> list[Found]:
    """Return what is called ``names``, in that order; all of it where None.

    Raises:
        NasosegError: If there is none of a name; names the nearest.
    """
    wanted = list(by_name) if names is None else list(names)
    for name in wanted:
        if name not in by_name:
            raise NasosegError(f"{path}: has no structure {name!r}: {nearest(name, by_name)}")
    return [by_name[name] for name in wanted]


class Structures(Mapping[str, npt.NDArray[np.bool_]]):
    """Map the names of structures to masks (z, h, w) on the grid of the CT; each access unpacks a new array.

    A structure of which nothing could be placed on the CT (no contour, points only, all of it outside) has no mask
    here: it counts as not drawn. It is in ``rois`` still, with the reason.

    Args:
        masks: Each structure with its mask, or with None.
        remarks: What was odd about the file as a whole.

    Attributes:
        rois: Every structure of the file by name, those without mask too.
        remarks: What was odd about the file as a whole.
    """

    def __init__(self, masks: Iterable[tuple[Roi, PackedMask | None]], *, remarks: Iterable[str] = ()) -> None:
        masks = list(masks)
        self.rois = {roi.name: roi for roi, _ in masks}
        self.remarks = tuple(remarks)
        self._packed = {roi.name: packed for roi, packed in masks if packed is not None and packed.voxels}

    def __getitem__(self, name: str) -> npt.NDArray[np.bool_]:
        return self._packed[name].unpack()

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def voxels(self, name: str) -> int:
        """Return the number of voxels of one structure, without unpacking it."""
        return self._packed[name].voxels

    def report(self) -> list[str]:
        """Say in lines what was odd: of the file, then of each structure."""
        lines = list(self.remarks)
        for roi in self.rois.values():
            said = "; ".join(roi.remarks)
            if roi.name not in self._packed:
                said = "no mask" + (f": {said}" if said else "")
            if said:
                lines.append(f"{roi.name} (number {roi.number}): {said}")
        return lines
