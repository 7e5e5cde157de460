"""Read a CT series from DICOM files, as HU on a straight grid in the patient, or refuse it with the reason.

Array order: (slice along the normal, rising; row; column), and an affine to LPS millimetres, whatever the orientation
of the scan. ``Volume.axial`` brings it into the order of the store.

Patients' names, birth dates and descriptions appear in no remark and in no error. File paths and SeriesInstanceUIDs do,
and a series' description where one of several must be chosen, unless it names the patient.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from nasoseg.errors import NasosegError
from nasoseg.volumes.ct_series import CtSeries, SlicePlane
from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.dicom_grid import Stack, at_one_place, sort_slices, stack
from nasoseg.volumes.dicom_header import numbers, tolerant
from nasoseg.volumes.dicom_pixels import read_hu
from nasoseg.volumes.dicom_scan import scan_export
from nasoseg.volumes.dicom_series import SeriesInfo, choose_ct
from nasoseg.volumes.dicom_slices import Slice, read_slices
from nasoseg.volumes.dicom_straight import straight_grid, straighten
from nasoseg.volumes.header import checked_shape
from nasoseg.volumes.volume import Geometry, Volume

__all__ = ["CtSeries", "SlicePlane", "read_ct", "read_series"]

_LEAST_SLICES = 2  # the distance to the next slice is unknown with one


def read_ct(path: str | os.PathLike[str], *, series: str | None = None, resample: bool = False) -> CtSeries:
    """Read one CT series from a folder with whatever else it holds, a multi-frame file, or a zip of these.

    Args:
        path: Folder, file or zip.
        series: Which of several: SeriesInstanceUID, a beginning or ending that only one has, or the number in the
            list that the error shows.
        resample: Put tilted or unevenly spaced slices onto a straight grid instead of refusing them.

    Raises:
        NasosegError: If there is no CT or more than one to choose from; a file of it is damaged, or says wrongly or
            not at all what its pixels mean or where they lie; slices are missing, differ in size or contradict each
            other at one place; or they are tilted or uneven and ``resample`` is False. Names the file or folder.
    """
    with opened(Path(path)) as root, tolerant():
        export = scan_export(root)
        chosen = choose_ct(export, series)
        read = read_series(chosen, resample=resample)
    single = [s.files[0] for s in export.series if s.kind == "ct" and s.slices == 1 and s is not chosen]
    damaged = [path for path, _ in export.damaged]
    passed = [
        f"{what} passed over: {', '.join(path.name for path in paths[:3])} ({len(paths)} in all)"
        for what, paths in (("CT series of one slice", single), ("damaged files of other series", damaged))
        if paths
    ]
    return replace(read, remarks=(*export.remarks, *passed, *read.remarks))


def read_series(series: SeriesInfo, *, resample: bool = False) -> CtSeries:
    """Read a CT series that ``find_series`` found, without searching its folder again.

    Args:
        series: The series; its files must still be there.
        resample: As of ``read_ct``.

    Raises:
        NasosegError: As ``read_ct``.
    """
    if series.kind != "ct":
        raise NasosegError(f"{series.files[0]}: a series of {series.modality} ({series.kind}), expected CT")
    for path, damage in series.damaged[:1]:
        raise NasosegError(
            f"{path}: {damage}; it belongs to the chosen CT series or lies among its slices ({len(series.damaged)} such"
            " files), expected whole files: copy or export them again, or move them away if they belong elsewhere"
        )
    with tolerant():
        return _read(series, resample=resample)


def _read(series: SeriesInfo, *, resample: bool) -> CtSeries:
    slices, remarks = read_slices(series)
    if len(slices) < _LEAST_SLICES:
        raise NasosegError(
            f"{series.files[0]}: a CT series of {len(slices)} slices, expected {_LEAST_SLICES} or more: the"
            " distance to the next slice is unknown; name the folder of the whole series"
        )
    shape = checked_shape(series.files[0], (len(slices), slices[0].plane.rows, slices[0].plane.columns))
    slices, doubled = _without_duplicates(sort_slices(slices))
    found = stack(slices)
    if not found.straight and not resample:
        raise NasosegError(
            f"{series.files[0].parent}: {len(slices)} slices with {found.finding}, expected a straight, even stack:"
            " pass --resample (resample=True in Python) to put it onto a straight grid, or export a straight"
            " reconstruction"
        )
    hu, told = read_hu(slices)
    header = dcmread(slices[0].path, stop_before_pixels=True, force=True)  # some lack the preface
    first = slices[0].plane
    if found.straight:
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1:3], affine[:3, 3] = found.step, first.affine_lps[:3, :2], found.origin
        volume = Volume(hu, Geometry((len(slices), shape[1], shape[2]), affine))
    else:
        volume = straighten(hu, found, first, straight_grid(found, first, series.files[0]))
        remarks.append(_straightened(found, slices, volume))
    return CtSeries(
        volume=volume,
        planes=tuple(one.plane for one in slices),
        straight=found.straight,
        header=header,
        frame_of_reference_uid=series.frame_of_reference_uid,
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        remarks=(*remarks, *doubled, *told, *_oddities(series, slices, found, header)),
    )


def _without_duplicates(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """Keep one of identical slices at one place.

    Raises:
        NasosegError: If slices at one place differ, or all lie at one place.
    """
    places = at_one_place(slices)
    extra = 0
    for place in places:
        for other in place[1:]:
            first = place[0]
            pixels, _ = read_hu([first, other])
            apart = float(np.abs(first.plane.affine_lps - other.plane.affine_lps).max())
            if apart > 0.01 or not np.array_equal(pixels[0], pixels[1]):
                raise NasosegError(
                    f"{other.path}: {other.where} and {first.where} ({first.path}) lie at one place,"
                    f" {float(first.origin @ first.normal):.2f} mm along the normal, and differ, expected one slice"
                    " there: the series mixes phases, reconstructions or versions: export one of them"
                )
            extra += 1
    if len(places) < _LEAST_SLICES:
        raise NasosegError(
            f"{slices[0].path}: all {len(slices)} slices of the series lie at one place, expected {_LEAST_SLICES} or"
            " more places: name the folder of the whole series"
        )
    remarks = [f"{extra} slices are there twice, identical: one of each was kept"] if extra else []
    return [place[0] for place in places], remarks


def _straightened(found: Stack, slices: Sequence[Slice], volume: Volume) -> str:
    shape, spacing = volume.geometry.shape, volume.geometry.spacing_mm[0]
    return (
        f"resampled: {len(slices)} slices with {found.finding} were interpolated linearly to {shape[0]} straight ones"
        f" {spacing:.2f} mm apart, of {shape[1]} x {shape[2]} pixels"
    )


def _oddities(series: SeriesInfo, slices: Sequence[Slice], found: Stack, header: Dataset) -> list[str]:
    remarks = []
    for level, uid in (
        ("FrameOfReferenceUID", series.frame_of_reference_uid),
        ("StudyInstanceUID", series.study_instance_uid),
        ("SeriesInstanceUID", series.series_instance_uid),
    ):
        if not uid:
            remarks.append(f"the files have no {level}")
    references = {(one.plane.sop_instance_uid, one.plane.frame) for one in slices}
    if len(references) < len(slices) or any(not one.plane.sop_instance_uid for one in slices):
        remarks.append("slices share a SOPInstanceUID or have none: what refers to them by it is ambiguous")
    thickness = float(np.median([one.thickness_mm for one in slices if one.thickness_mm > 0] or [np.inf]))
    if found.spacing_mm > 1.5 * thickness:
        remarks.append(
            f"slices of {thickness:g} mm lie {found.spacing_mm:.2f} mm apart: the scan has gaps, or every other slice"
            " was left out"
        )
    tilt = abs((numbers(header, "GantryDetectorTilt", 1) or (0.0,))[0])
    if abs(tilt - found.tilt_degrees) > 0.5:
        remarks.append(
            f"GantryDetectorTilt is {tilt:g} degrees, the slices' positions say {found.tilt_degrees:.1f}: the positions"
            " are believed"
        )
    return remarks
