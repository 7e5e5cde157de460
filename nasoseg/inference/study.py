"""Scans to segment: files and folders, one scan or many, DICOM or NIfTI."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nasoseg.errors import NasosegError
from nasoseg.safe_names import safe_file_name
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom import read_ct, read_series
from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.dicom_scan import scan_export
from nasoseg.volumes.dicom_series import Export, SeriesInfo, choose_ct
from nasoseg.volumes.header import split_name
from nasoseg.volumes.nifti import read_ct as read_image_ct
from nasoseg.volumes.volume import Volume

_CHANNEL = re.compile(r"_\d{4}$")  # nnU-Net's number of the channel


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


@dataclass(frozen=True)
class Scan:
    """Point at one scan that has not been read yet.

    Attributes:
        name: Safe as a file name, and unlike those of the scans beside it.
        path: The image file, or the folder or file with the DICOM series.
        series: The DICOM series; empty for an image file, and several where nobody has chosen among them.
        export: All that lies beside the series.
    """

    name: str
    path: Path
    series: tuple[SeriesInfo, ...] = ()
    export: Export | None = field(default=None, repr=False)

    def read(self, *, resample: bool = False) -> Study:
        """Read the scan.

        Args:
            resample: Put tilted or unevenly spaced DICOM slices onto a straight grid instead of refusing them.

        Raises:
            NasosegError: If it cannot be read as one CT; see ``volumes.dicom.read_ct`` and ``volumes.nifti.read_ct``.
        """
        if self.export is None:
            return Study(read_image_ct(self.path), self.name)
        ct = read_series(choose_ct(self.export, None, among=self.series), resample=resample)
        return Study(ct.volume, self.name, ct, (*self.export.remarks, *ct.remarks))


def read_study(path: str | os.PathLike[str], *, series: str | None = None, resample: bool = False) -> Study:
    """Read one CT scan.

    Args:
        path: A DICOM folder, file or zip; or a NIfTI, NRRD or MetaImage file; or a folder with ``ct.nii.gz``.
        series: Which of several DICOM series (``volumes.dicom.read_ct``).
        resample: Put tilted or unevenly spaced DICOM slices onto a straight grid instead of refusing them.

    Raises:
        NasosegError: If there is no scan, or more than one to choose from, or it cannot be read.
    """
    path = Path(path)
    image = _image_in(path)
    if image:
        return Study(read_image_ct(image), _name(image))
    ct = read_ct(path, series=series, resample=resample)
    return Study(ct.volume, safe_file_name(path.stem if path.is_file() else path.name), ct, ct.remarks)


@contextlib.contextmanager
def found_scans(path: str | os.PathLike[str], *, series: str | None = None) -> Iterator[list[Scan]]:
    """Find all scans under a path; what a zip holds stays unpacked until the block ends.

    An image file is one scan. A folder may hold ``ct.nii.gz``, image files, a folder of these for every patient, or
    DICOM files however nested. Of DICOM, every study with a CT is a scan.

    Args:
        path: A file, a folder or a zip.
        series: The one DICOM series to take (``volumes.dicom.read_ct``).

    Raises:
        NasosegError: If there is no scan, or ``series`` fits none or several.
    """
    path = Path(path)
    if not path.exists():
        raise NasosegError(f"{path}: no such file or folder: expected a CT (DICOM folder or zip, or NIfTI)")
    images = _images(path) if series is None else []
    if images:
        yield _apart([Scan(_name(image), image) for image in images])
        return
    with opened(path) as root:
        export = scan_export(root)
        if series is not None:
            chosen = choose_ct(export, series)
            yield _apart([Scan(_dicom_name(path, root, chosen), root, (chosen,), export)])
            return
        studies: dict[tuple[str, str], list[SeriesInfo]] = {}
        for entry in export.series:
            if entry.kind == "ct":
                studies.setdefault((entry.patient, entry.study_instance_uid), []).append(entry)
        if not studies:
            choose_ct(export, None)  # says what was found instead
        yield _apart([Scan(_dicom_name(path, root, s[0]), root, tuple(s), export) for s in studies.values()])


def source_files(scans: Sequence[Scan]) -> set[Path]:
    """Return the files that scans are read from, with the others of their exports."""
    files = {scan.path for scan in scans if scan.export is None}
    for export in {id(scan.export): scan.export for scan in scans if scan.export is not None}.values():
        files.update(file for series in export.series for file in series.files)
        files.update(contours.path for contours in export.contours)
    return files


def _image_in(path: Path) -> Path | None:
    """Return the one image file that a path is, or that a folder calls its CT."""
    if path.is_file():
        return path if split_name(path)[1] else None
    if not path.is_dir():
        return None
    cts = [p for p in sorted(path.iterdir()) if p.is_file() and split_name(p)[0] == "ct" and split_name(p)[1]]
    if len(cts) > 1:
        raise NasosegError(f"{path}: found {' and '.join(p.name for p in cts)}, expected one CT: name the file")
    return cts[0] if cts else None


def _images(path: Path) -> list[Path]:
    one = _image_in(path)
    if one or path.is_file():
        return [one] if one else []
    folders = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    of_folders = [found for folder in folders if (found := _image_in(folder))]
    if of_folders:
        return of_folders
    files = [p for p in sorted(path.iterdir()) if p.is_file() and split_name(p)[1]]
    numbered = [p for p in files if _CHANNEL.search(split_name(p)[0])]
    return [p for p in numbered if split_name(p)[0].endswith("_0000")] if len(numbered) == len(files) else files


def _name(image: Path) -> str:
    stem = split_name(image)[0]
    return safe_file_name(image.absolute().parent.name if stem == "ct" else _CHANNEL.sub("", stem))


def _dicom_name(path: Path, root: Path, series: SeriesInfo) -> str:
    """Name a series after the folder of its files; of a zip that has none, after the zip."""
    folder = series.files[0].parent
    if root.is_file() or folder == root:
        return safe_file_name(path.stem if path.is_file() else path.absolute().name)
    return safe_file_name(folder.name)


def _apart(scans: Sequence[Scan]) -> list[Scan]:
    """Number scans of one name, without regard to case."""
    named: list[Scan] = []
    taken: set[str] = set()
    for scan in scans:
        name, number = scan.name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{scan.name}_{number}"
        taken.add(name.casefold())
        named.append(replace(scan, name=name))
    return named
