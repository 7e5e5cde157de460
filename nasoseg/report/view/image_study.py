"""A study of image files: ``ct.nii.gz`` and a mask file a structure; and such masks for a study of any kind."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasoseg.data.resample import resample_mask
from nasoseg.errors import NasosegError
from nasoseg.files import visible
from nasoseg.report.view.study import OWN_MASKS, MaskSet, ShownStudy
from nasoseg.volumes.header import EXTENSIONS, split_name
from nasoseg.volumes.nifti import read_ct, read_label_map
from nasoseg.volumes.structure_set import PackedMask
from nasoseg.volumes.volume import Geometry

_CT = "ct"
_MASKS = "segmentations"


def find_ct(path: Path) -> Path | None:
    """Return the CT that a path is, or that lies in a folder under the name ``ct``; None where there is none.

    Raises:
        NasosegError: If a folder holds two.
    """
    if not path.is_dir():
        return path if split_name(path)[1] else None
    found = [file for file in _images(path) if split_name(file)[0] == _CT]
    if len(found) > 1:
        raise NasosegError(f"{path}: found {' and '.join(p.name for p in found)}, expected one CT: name the file")
    return found[0] if found else None


def find_patients(path: Path) -> list[str]:
    """Return the names of the folders in a folder that hold a CT each."""
    if not path.is_dir():
        return []
    return [folder.name for folder in sorted(path.iterdir()) if folder.is_dir() and find_ct(folder)]


def read_image_study(ct: Path, predictions: Mapping[str, Path]) -> ShownStudy:
    """Read a CT file, the masks in ``segmentations`` beside a file called ``ct``, and predictions.

    Raises:
        NasosegError: If a file cannot be read, or a mask is on another grid.
    """
    volume = read_ct(ct).axial()
    grid = volume.geometry
    own = ct.parent / _MASKS
    sets = []
    if split_name(ct)[0] == _CT and own.is_dir() and _images(own):
        sets.append(MaskSet(OWN_MASKS, read_masks(own, grid)))
    sets += [MaskSet(name, read_masks(path, grid)) for name, path in predictions.items()]
    return ShownStudy("CT", volume, tuple(sets))


def read_masks(path: Path, grid: Geometry, *, source: Geometry | None = None) -> dict[str, PackedMask]:
    """Read a folder with a mask file a structure, or one mask file.

    Args:
        path: The folder; the masks may also lie in its ``segmentations``. A file called ``ct`` is passed over.
        grid: The CT's, in axial order.
        source: Another axial grid with the same slices on which masks may lie too: that of the file a store was made
            of. They are then brought onto ``grid``.

    Returns:
        (z, h, w) masks in axial order, by the files' names without ending.

    Raises:
        NasosegError: If there is no mask, a structure has two files, or a file cannot be read, is no mask, or lies on
            another grid.
    """
    files: dict[str, Path] = {}
    for file in mask_files(path):
        structure = split_name(file)[0]
        if twin := files.get(structure):
            raise NasosegError(
                f"{file}: {structure!r} is also in {twin.name}, expected one file a structure: remove one"
            )
        files[structure] = file
    return {structure: PackedMask(_read_mask(file, grid, source)) for structure, file in files.items()}


def mask_files(path: Path) -> list[Path]:
    """Return the mask files that a path is, or that lie in a folder or its ``segmentations``.

    Raises:
        NasosegError: If there is none.
    """
    if path.is_file() and split_name(path)[1]:
        return [path]
    files: list[Path] = []
    if path.is_dir():
        inner = path / _MASKS
        files = [file for file in _images(inner if inner.is_dir() else path) if split_name(file)[0] != _CT]
    if not files:
        what = "no mask file in it" if path.is_dir() else "no mask file" if path.exists() else "no such file or folder"
        raise NasosegError(
            f"{path}: {what}, expected a folder with <structure>.nii.gz ({', '.join(EXTENSIONS)}), or for a DICOM"
            " study an RTSTRUCT or SEG file"
        )
    return files


def _images(folder: Path) -> list[Path]:
    return [file for file in visible(folder) if split_name(file)[1] and file.is_file()]


def _read_mask(file: Path, grid: Geometry, source: Geometry | None) -> npt.NDArray[np.bool_]:
    volume = read_label_map(file).axial()
    inside = np.asarray(volume.array != 0)
    values = volume.array[inside]
    if values.size and values.min() != values.max():
        raise NasosegError(
            f"{file}: a label map with values from {values.min()} to {values.max()}, expected a mask of 0 and one"
            " other value: write one file a structure"
        )
    if volume.geometry.matches(grid):
        return inside
    if source is not None and volume.geometry.matches(source):
        return resample_mask(inside, source, grid)
    raise NasosegError(
        f"{file}: lies on a grid of {volume.geometry.worded()}, the CT on one of {grid.worded()}, in axial order:"
        " expected the same: give the masks of this CT, or resample them onto it"
    )
