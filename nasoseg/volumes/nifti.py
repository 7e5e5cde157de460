"""3-D image files in and out, one volume a file: NIfTI here, NRRD and MetaImage by ``itk``.

Array order: a volume read here has the file's own index order, (i, j, k) = first, second, third axis of the file,
and an affine that maps those indices to LPS millimetres. ``Volume.axial`` brings it into the order of the store.
"""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.volumes.header import EXTENSIONS, check_size, checked_geometry, checked_shape, split_name, unreadable
from nasoseg.volumes.itk import read_itk, write_itk
from nasoseg.volumes.volume import Geometry, Volume

RANGE_HU = (-32768, 32767)
"""A CT is clipped to int16: metal on an extended scale reaches 30710 HU, padding goes down to -32768."""

_LEAST_CONTRAST_HU = 50  # air to soft tissue is 1000 HU; a CT scaled to 0..1 or by its deviation stays below
_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


def ras_from_lps(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn an affine to LPS millimetres (DICOM, ITK, here) into one to RAS millimetres (NIfTI), or back.

    Both differ in the sign of the first two coordinates only, so that the function is its own inverse.
    """
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read one 3-D image with its scaling (NIfTI's slope and intercept) applied.

    Returns:
        The voxels in the file's index order, as stored, or float64 where the file scales them.

    Raises:
        NasosegError: If the file is missing, truncated, damaged or no image; is not 3-D or not of numbers; claims an
            impossible size (before anything is allocated); has voxels that are NaN or infinite; or does not say where
            its voxels are.
    """
    path = Path(path)
    if not path.is_file():
        raise NasosegError(f"{path}: no such file: expected an image ({', '.join(EXTENSIONS)})")
    ending = split_name(path)[1]
    if not ending:
        raise NasosegError(f"{path}: unknown ending, expected one of {', '.join(EXTENSIONS)}: convert the file")
    volume = _read_nifti(path) if ending.startswith(".nii") else read_itk(path)
    if volume.array.dtype.kind == "f":
        bad = int(volume.array.size - np.count_nonzero(np.isfinite(volume.array)))
        if bad:
            raise NasosegError(
                f"{path}: {bad} of {volume.array.size} voxels are NaN or infinite, expected finite numbers: replace"
                " them (-1024 HU is air), or leave the patient out"
            )
    return volume


def read_ct(path: str | os.PathLike[str]) -> Volume:
    """Read a CT as HU, rounded and clipped to int16 (``RANGE_HU``).

    Raises:
        NasosegError: As ``read_volume``; and if the CT is constant or so flat that it cannot be in HU.
    """
    volume = read_volume(path)
    array = volume.array
    low, high = array.min(), array.max()
    if float(high) - float(low) < _LEAST_CONTRAST_HU:
        raise NasosegError(
            f"{path}: {'constant' if low == high else 'nearly constant'} CT: all voxels lie in {low:g} to {high:g},"
            " expected Hounsfield units (air about -1000, water 0, bone to 3000): export the CT again without"
            " normalising it, or leave the patient out"
        )
    if array.dtype.kind == "f":
        array = np.rint(array)
    if array.dtype != np.int16:
        array = np.clip(array, *RANGE_HU).astype(np.int16)
    return Volume(array, volume.geometry)


def read_label_map(path: str | os.PathLike[str]) -> Volume:
    """Read whole-numbered voxels: a mask (0 outside, anything else inside) or a map of label values.

    Raises:
        NasosegError: As ``read_volume``; and if a voxel is not a whole number.
    """
    volume = read_volume(path)
    if volume.array.dtype.kind != "f":
        return volume
    whole = np.rint(volume.array)
    if not np.array_equal(whole, volume.array):
        value = float(volume.array[whole != volume.array].flat[0])
        raise NasosegError(
            f"{path}: found the voxel value {value:g}, expected whole numbers (0 = outside): a probability map or a"
            " resampled mask must be thresholded first"
        )
    return Volume(whole.astype(np.int64), volume.geometry)


def _read_nifti(path: Path) -> Volume:
    try:
        image: Any = nib.load(path)
        header = image.header
        if not isinstance(header, nib.Nifti1Header):
            raise ImageFileError(f"it is {type(image).__name__}, not NIfTI")
        stored = image.dataobj
        shape, dtype = checked_shape(path, image.shape), np.dtype(stored.dtype)
        check_size(path, shape, dtype, offset=stored.offset)
        units: Any = header  # partly typed
        unit = _MM_PER_UNIT.get(units.get_xyzt_units()[0], 1.0)
        affine = np.diag([unit, unit, unit, 1.0]) @ image.affine
        placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        raw = _read_bytes(path, stored.offset, stored.offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise unreadable(path, error) from error
    if not placed:
        raise NasosegError(
            f"{path}: its header has neither sform nor qform (both codes are 0), so that its orientation is unknown;"
            " expected one: convert the scan again from DICOM, or set the form if you are sure of it"
        )
    array = np.frombuffer(raw, dtype).reshape(shape, order="F").astype(dtype.newbyteorder("="), copy=False)
    if (stored.slope, stored.inter) != (1, 0):
        array = array * np.float64(stored.slope) + np.float64(stored.inter)
    return Volume(array, checked_geometry(path, shape, ras_from_lps(affine)))


def _read_bytes(path: Path, start: int, stop: int) -> bytes:
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        stream.seek(start)
        raw: bytes = stream.read(stop - start)
        if len(raw) < stop - start:
            raise EOFError(f"{stop - start} bytes of voxels expected, {len(raw)} found")
        while opener is gzip.open and stream.read(1 << 20):  # gzip compares its checksum only at the end
            pass
    return raw


def write_volume(path: str | os.PathLike[str], array: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write one 3-D image: to a temporary file beside ``path``, renamed when it is complete and on the disk.

    Args:
        path: Ending in .nii, .nii.gz, .nrrd or .mha.
        array: Voxels in the index order of ``geometry``; bool is written as uint8.
        geometry: The grid; NIfTI gets it as sform, and as qform where a qform can hold it (no shear).

    Raises:
        NasosegError: If shape, type or ending do not fit, or the disk is full or not writable.
    """
    path = Path(path)
    if array.shape != geometry.shape:
        raise NasosegError(f"{path}: array of shape {array.shape} for a grid of {geometry.shape}: expected the same")
    ending = split_name(path)[1]
    if ending in ("", ".mhd"):
        raise NasosegError(f"{path}: unknown ending, expected .nii.gz, .nii, .nrrd or .mha")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    try:
        with whole_file(path) as temporary:
            (_write_nifti if ending.startswith(".nii") else write_itk)(temporary, array, geometry)
    except (OSError, RuntimeError, HeaderDataError) as error:
        raise NasosegError(
            f"{path}: could not be written ({' '.join(str(error).split())[-200:]}): free disk space, choose another"
            " folder, or another voxel type"
        ) from error


def _write_nifti(path: Path, array: npt.NDArray[Any], geometry: Geometry) -> None:
    affine_ras = ras_from_lps(geometry.affine_lps)
    nifti: Any = nib.Nifti1Image  # untyped
    image = nifti(array, None, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine_ras, code=1)
    image.set_qform(affine_ras, code=1)
    if not np.allclose(image.get_qform(), affine_ras, atol=1e-3):
        image.set_qform(None, code=0)
    image.to_filename(path)
