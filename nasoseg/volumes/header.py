"""What a file's name and header say, and whether it can be believed before any voxel is read."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError
from nasoseg.labels import composed
from nasoseg.volumes.volume import LARGEST_SIDE, Geometry

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
"""The files that can be read; the longer ending first."""

_MOST_VOXELS = 2**31
_MOST_INFLATION = 1100  # deflate cannot shrink more than 1032 times: a header that claims more lies


def split_name(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Split a file's name into stem and image ending: ``a/Larynx.nii.gz`` into ``Larynx`` and ``.nii.gz``.

    The ending is empty where the file is no image of a known kind. The stem is ``composed``, for it names a structure.
    """
    name = Path(path).name
    ending = next((ending for ending in EXTENSIONS if name.lower().endswith(ending)), "")
    return composed(name[: len(name) - len(ending)]), ending


def unreadable(path: Path, error: BaseException) -> NasosegError:
    """Word the error for a file that its library could not read."""
    reason = " ".join(str(error).split())[-200:] or type(error).__name__
    return NasosegError(
        f"{path}: cannot be read as an image ({reason}): expected a whole {split_name(path)[1]} file; it may be"
        " truncated or damaged: copy or export it again"
    )


def checked_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Check the shape that a header claims, and drop trailing axes of length 1.

    Raises:
        NasosegError: If it is not 3-D, or larger than any scan.
    """
    sides = [int(side) for side in shape]
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    if len(sides) != 3:
        raise NasosegError(
            f"{path}: a {len(sides)}-D image of shape {tuple(sides)}, expected a 3-D one: write one time point or"
            " channel to a file of its own"
        )
    if not all(1 <= side <= LARGEST_SIDE for side in sides) or np.prod(sides, dtype=np.float64) > _MOST_VOXELS:
        raise NasosegError(
            f"{path}: its header claims the shape {tuple(sides)}, expected sides of 1 to {LARGEST_SIDE} and at most"
            f" {_MOST_VOXELS} voxels: the header is damaged: copy or export the file again"
        )
    return sides[0], sides[1], sides[2]


def check_size(path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any], *, offset: int = 0) -> None:
    """Check that the file can hold the voxels that its header claims, from byte ``offset`` on.

    Raises:
        NasosegError: If it cannot, or a voxel is not one real number.
    """
    if dtype.kind not in "iufb":
        raise NasosegError(f"{path}: voxels of type {dtype}, expected one real number a voxel: convert the file")
    claimed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    held = path.stat().st_size * (1 if path.name.lower().endswith(".nii") else _MOST_INFLATION)
    if offset < 0 or offset + claimed > held:
        begin = f" from byte {offset} on" if offset else ""
        raise NasosegError(
            f"{path}: its header claims {claimed} bytes of voxels{begin}, more than a file of {path.stat().st_size}"
            " bytes can hold: it is truncated or its header is damaged: copy or export it again"
        )


def checked_geometry(path: Path, shape: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> Geometry:
    """Make the grid.

    Raises:
        NasosegError: If the affine (to LPS millimetres) is not finite, flat, or of an impossible spacing.
    """
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    usable = np.isfinite(affine).all() and (lengths > 1e-3).all() and (lengths < 1e3).all()
    if not usable or abs(np.linalg.det(axes / lengths)) < 0.1:
        raise NasosegError(
            f"{path}: its affine {np.round(affine[:3], 4).tolist()} does not place voxels, expected finite numbers,"
            " spacings of 0.001 to 1000 mm and three different directions: export the image again"
        )
    return Geometry(shape, affine)
