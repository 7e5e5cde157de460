"""Find the scans to segment: one or many, DICOM, zips of it or image files."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nasoseg.errors import NasosegError
from nasoseg.files import visible
from nasoseg.inference.scan_names import Naming, names_apart
from nasoseg.inference.study import FIRST_CHANNEL, Study, image_in, image_name
from nasoseg.volumes.dicom import read_series
from nasoseg.volumes.dicom_archive import named_as, opened, unpacked
from nasoseg.volumes.dicom_scan import scan_export
from nasoseg.volumes.dicom_series import Export, SeriesInfo, choose_ct
from nasoseg.volumes.header import split_name
from nasoseg.volumes.nifti import read_ct as read_image_ct

_CHANNEL = re.compile(r"_\d{4}$")  # nnU-Net's number of the channel
_ZIP = ".zip"

_Studies = list[tuple[SeriesInfo, ...]]  # the CT series of each
_Remarks = dict[Path, tuple[str, ...]]  # by image file


@dataclass(frozen=True)
class Scan:
    """Point at one scan that has not been read yet.

    Attributes:
        name: Safe as a file name, and unlike those of the scans beside it.
        path: The image file; or what was searched for DICOM: a folder, a file, or what a zip was unpacked to.
        given: What ``path`` is called in messages: the zip or the folder of zips; else ``path``.
        series: The DICOM series; empty for an image file, and several where nobody has chosen among them.
        export: All that lies beside the series.
        remarks: What lies beside an image file and was passed over.
    """

    name: str
    path: Path
    given: Path
    series: tuple[SeriesInfo, ...] = ()
    export: Export | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()

    def read(self, *, resample: bool = False) -> Study:
        """Read the scan.

        Args:
            resample: Put tilted or unevenly spaced DICOM slices onto a straight grid instead of refusing them.

        Raises:
            NasosegError: If it cannot be read as one CT; see ``volumes.dicom.read_ct`` and ``volumes.nifti.read_ct``.
        """
        if self.export is None:
            return Study(read_image_ct(self.path), self.name, remarks=self.remarks)
        with named_as(self.path, self.given):
            ct = read_series(choose_ct(self.export, None, among=self.series), resample=resample)
        return Study(ct.volume, self.name, ct, (*self.export.remarks, *ct.remarks))


@contextlib.contextmanager
def found_scans(path: str | os.PathLike[str], *, series: str | None = None) -> Iterator[list[Scan]]:
    """Find all scans under a path; what a zip holds stays unpacked until the block ends.

    An image file is one scan. A folder may hold DICOM files however nested, of which every study with a CT is a scan;
    zips of such files; or image files: itself, or as ``ct.nii.gz`` in folders of its own for every patient. Scans of
    two of these kinds are refused, so that none is left out unnoticed. Two that belong to one scan are not: what lies
    among the slices of the folder itself is passed over, and so is one patient's DICOM below the folder of a
    ``ct.nii.gz``, with a remark.

    Args:
        path: A file, a folder or a zip.
        series: The one DICOM series to take (``volumes.dicom.read_ct``); image files are passed over then.

    Raises:
        NasosegError: If there is no scan, or ``series`` fits none or several; if there are scans of two kinds, or
            image files are numbered so that they may be patients or channels of one.
    """
    path = Path(path)
    if not path.exists():
        raise NasosegError(f"{path}: no such file or folder: expected a CT (DICOM folder or zip, or NIfTI)")
    if path.is_file():
        if series is None and image_in(path):
            yield _image_scans(path.parent, [path], {})
            return
        with opened(path) as root:
            yield _dicom_scans(path, root, scan_export(root), series)
        return
    export = scan_export(path)
    images, zips, remarks = _of_one_kind(path, export, images=series is None)
    if images:
        yield _image_scans(path, images, remarks)
    elif zips:
        with unpacked(zips, path) as root:
            yield _dicom_scans(path, root, scan_export(root), series)
    else:
        yield _dicom_scans(path, path, export, series)


def source_files(scans: Sequence[Scan]) -> set[Path]:
    """Return the files that scans are read from, with the others of their exports."""
    files = {scan.path for scan in scans if scan.export is None}
    for export in {id(scan.export): scan.export for scan in scans if scan.export is not None}.values():
        files.update(file for series in export.series for file in series.files)
        files.update(contours.path for contours in export.contours)
    return files


def _of_one_kind(path: Path, export: Export, *, images: bool) -> tuple[list[Path], list[Path], _Remarks]:
    """Return the image files, if they are wanted, or the zips of a folder, and remarks on image files.

    Raises:
        NasosegError: If there are two of image files, zips and DICOM studies.
    """
    studies = _studies(export)
    files: list[Path] = []
    remarks: _Remarks = {}
    if images:
        files, studies, remarks = _image_files(path, export, studies)
    zips = [] if _holds_slices(path, export) else [p for p in visible(path) if p.suffix.lower() == _ZIP and p.is_file()]
    kinds = {
        "image files": [str(file.relative_to(path)) for file in files],
        "zips": [file.name for file in zips],
        "DICOM studies": [str(study[0].files[0].relative_to(path)) for study in studies],
    }
    found = {kind: names for kind, names in kinds.items() if names}
    if len(found) > 1:
        listed = " and ".join(f"{kind} ({len(names)}, first {names[0]})" for kind, names in found.items())
        raise NasosegError(
            f"{path}: holds {listed}, expected scans of one kind: give each kind a folder of its own, or name the scans"
            " one by one"
        )
    return files, zips, remarks


def _image_files(path: Path, export: Export, studies: _Studies) -> tuple[list[Path], _Studies, _Remarks]:
    """Return the image files of a folder that are scans, the DICOM studies beyond theirs, and remarks on the files."""
    own = image_in(path)
    cts = [found for folder in visible(path) if folder.is_dir() and (found := image_in(folder))]
    remarks: _Remarks = {}
    for ct in [*cts, *([own] if own else [])]:
        inside = [study for study in studies if study[0].files[0].is_relative_to(ct.parent)]
        if len({study[0].patient for study in inside}) == 1:
            studies = [study for study in studies if study not in inside]
            first = inside[0][0].files[0].relative_to(ct.parent)
            remarks[ct] = (f"DICOM beside {ct.name} was passed over ({first})",)
    flat = [file for file in visible(path) if split_name(file)[1] and file.is_file()]
    if own:
        others = [file.name for file in flat if file != own]
        if others:
            told = f"other image files were passed over: {', '.join(others[:3])} ({len(others)} in all)"
            remarks[own] = (*remarks.get(own, ()), told)
        return [own, *cts], studies, remarks
    if _holds_slices(path, export):
        return cts, studies, remarks
    firsts, of_channels = _first_channels(path, flat)
    return [*cts, *firsts], studies, remarks | of_channels


def _holds_slices(path: Path, export: Export) -> bool:
    return any(file.parent == path for entry in export.series if entry.kind == "ct" for file in entry.files)


def _first_channels(path: Path, files: list[Path]) -> tuple[list[Path], _Remarks]:
    """Keep the first channel of each case where files are numbered as nnU-Net does, with remarks on the others.

    Raises:
        NasosegError: If the numbers may as well be those of patients.
    """
    stems = {file: split_name(file)[0] for file in files}
    case_of = {file: _CHANNEL.sub("", stem) for file, stem in stems.items()}
    firsts = [file for file, stem in stems.items() if stem.endswith(FIRST_CHANNEL)]
    others = [file for file in files if file not in firsts]
    numbered = all(map(_CHANNEL.search, stems.values()))
    if not numbered or not others or {case_of[file] for file in firsts} != set(case_of.values()):
        return files, {}
    if not any((folder / "dataset.json").is_file() for folder in (path, path.absolute().parent)):
        raise NasosegError(
            f"{path}: {firsts[0].name} and {others[0].name} ({len(files)} files so numbered) may be patients, or"
            " channels of one image as nnU-Net numbers them: rename patients (without _0000), or move channels other"
            " than _0000 away; beside nnU-Net's dataset.json they are taken for channels"
        )
    remarks: _Remarks = {}
    for first in firsts:
        passed = [file.name for file in others if case_of[file] == case_of[first]]
        if passed:
            remarks[first] = (f"other channels were passed over: {', '.join(passed)}",)
    return firsts, remarks


def _image_scans(root: Path, images: Sequence[Path], remarks: _Remarks) -> list[Scan]:
    namings = []
    for image in images:
        place = image.parent.relative_to(root).parts if split_name(image)[0] == "ct" else (image_name(image),)
        namings.append(Naming(image_name(image), _placed(root, place), image.relative_to(root).as_posix()))
    names = names_apart(namings)
    return [Scan(name, image, image, remarks=remarks.get(image, ())) for name, image in zip(names, images, strict=True)]


def _dicom_scans(path: Path, root: Path, export: Export, series: str | None) -> list[Scan]:
    """Make scans of what was found in ``root``, which is ``path`` or what was unpacked of it."""
    studies = _studies(export) if series is None else [(choose_ct(export, series),)]
    if not studies:
        choose_ct(export, None)  # says what was found instead
    namings = [_dicom_naming(path, root, study[0]) for study in studies]
    return [Scan(name, root, path, study, export) for name, study in zip(names_apart(namings), studies, strict=True)]


def _studies(export: Export) -> _Studies:
    studies: dict[tuple[str, str], list[SeriesInfo]] = {}
    for entry in export.series:
        if entry.kind == "ct":
            studies.setdefault((entry.patient, entry.study_instance_uid), []).append(entry)
    return [tuple(study) for study in studies.values()]


def _dicom_naming(path: Path, root: Path, series: SeriesInfo) -> Naming:
    """Name a study after the folder of its files, or after the zip that has none."""
    place = series.files[0].parent.relative_to(root).parts if root.is_dir() else ()
    if root != path and path.is_dir():  # a folder of zips, each unpacked to a folder of its name
        place = (Path(place[0]).stem, *place[1:])
    whole = path.stem if path.is_file() else path.absolute().name
    patient = series.patient.removeprefix(str(root))  # of files without any ID it is their folder
    return Naming(place[-1] if place else whole, _placed(path, place), f"{patient}\n{series.study_instance_uid}")


def _placed(path: Path, place: tuple[str, ...]) -> tuple[str, ...]:
    """Return a place with the name of what was searched where it is a name alone: another folder may have that."""
    whole = path.stem if path.is_file() else path.absolute().name
    return place if len(place) > 1 else (whole, *place)
