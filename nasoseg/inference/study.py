"""One CT scan as it is segmented, read from DICOM or from an image file."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from nasoseg.errors import NasosegError
from nasoseg.safe_names import safe_file_name
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.header import split_name
from nasoseg.volumes.nifti import read_ct as read_image_ct
from nasoseg.volumes.volume import Volume

FIRST_CHANNEL = "_0000"
"""How nnU-Net ends the name of a case's first image: it is no part of the case's name."""


@dataclass(frozen=True)
class Study:
    """Hold one CT scan.

    Attributes:
        volume: HU on the scan's own grid.
        name: What it is called in file names and summaries.
        ct: The DICOM series that it was read from, None for other files; RTSTRUCT and SEG need one.
        remarks: What was odd about the files, in words.
    """

    volume: Volume
    name: str = "study"
    ct: CtSeries | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()


def read_study(path: str | os.PathLike[str], *, series: str | None = None, resample: bool = False) -> Study:
    """Read one CT scan.

    Args:
        path: A DICOM folder, file or zip; or a NIfTI, NRRD or MetaImage file; or a folder with ``ct.nii.gz``,
            whatever else lies there.
        series: Which of several DICOM series (``volumes.dicom.read_ct``).
        resample: Put tilted or unevenly spaced DICOM slices onto a straight grid instead of refusing them.

    Raises:
        NasosegError: If there is no scan, or more than one to choose from, or it cannot be read.
    """
    path = Path(path)
    image = image_in(path)
    if image:
        return Study(read_image_ct(image), image_name(image))
    ct = read_ct(path, series=series, resample=resample)
    return Study(ct.volume, safe_file_name(path.stem if path.is_file() else path.name), ct, ct.remarks)


def image_in(path: Path) -> Path | None:
    """Return the one image file that a path is, or that a folder calls its CT.

    Raises:
        NasosegError: If a folder calls several files its CT.
    """
    if path.is_file():
        return path if split_name(path)[1] else None
    if not path.is_dir():
        return None
    cts = [p for p in sorted(path.iterdir()) if p.is_file() and split_name(p)[0] == "ct" and split_name(p)[1]]
    if len(cts) > 1:
        raise NasosegError(f"{path}: found {' and '.join(p.name for p in cts)}, expected one CT: name the file")
    return cts[0] if cts else None


def image_name(image: Path) -> str:
    """Name a scan after its image file, or after the folder of ``ct.nii.gz``."""
    stem = split_name(image)[0]
    return safe_file_name(image.absolute().parent.name if stem == "ct" else stem.removesuffix(FIRST_CHANNEL))
