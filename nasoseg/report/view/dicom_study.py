"""A DICOM study: the CT, the contours that lie beside it, and predictions as RTSTRUCT, SEG or image files.

Nothing of a header but the names of structures is kept, and of those what names the patient is taken out.
"""

from collections.abc import Mapping
from pathlib import Path

from nasoseg.data.anonymous_text import without_identity
from nasoseg.data.dicom_pairing import pair_contours
from nasoseg.errors import NasosegError
from nasoseg.report.view.image_study import mask_files, read_masks
from nasoseg.report.view.study import OWN_MASKS, MaskSet, ShownStudy, set_name
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom import read_series
from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.dicom_header import tolerant
from nasoseg.volumes.dicom_scan import scan_export
from nasoseg.volumes.dicom_seg import read_seg
from nasoseg.volumes.dicom_series import ContourFile, Export, SeriesInfo, choose_ct
from nasoseg.volumes.header import split_name
from nasoseg.volumes.rtstruct import read_rtstruct
from nasoseg.volumes.structure_set import PackedMask, Structures, own_name
from nasoseg.volumes.volume import Volume


def read_dicom_study(
    path: Path, predictions: Mapping[str, Path], *, series: str | None = None, resample: bool = False
) -> ShownStudy:
    """Read a CT series with the contours that were drawn on it.

    A contour file beside the CT that cannot be read is left out, which the remarks tell; a prediction that cannot be
    read is an error.

    Args:
        path: A folder, file or zip.
        predictions: RTSTRUCT or SEG files, folders with one such file, or folders of masks, by name.
        series: Which of several CT series.
        resample: As of ``volumes.dicom.read_ct``.

    Raises:
        NasosegError: As ``volumes.dicom.read_ct``; and if a prediction cannot be read or does not belong to the CT.
    """
    sets: list[MaskSet] = []
    remarks: list[str] = []
    with opened(path) as root, tolerant():
        export = scan_export(root)
        chosen = choose_ct(export, series)
        ct = read_series(chosen, resample=resample)
        remarks += [*export.remarks, *ct.remarks]
        files, left_out = _drawn_on(chosen, export)
        remarks += left_out
        for file in files:
            try:
                masks, odd = _contours(file, ct)
            except NasosegError as error:
                remarks.append(f"left out: {error}")
                continue
            remarks += odd
            if masks:
                sets.append(MaskSet(set_name(OWN_MASKS, len(sets) + 1), masks))
    for name, given in predictions.items():
        masks, odd = _prediction(given, ct)
        remarks += odd
        sets.append(MaskSet(name, masks))
    return ShownStudy("CT", ct.volume.axial(), tuple(sets), tuple(remarks))


def _drawn_on(chosen: SeriesInfo, export: Export) -> tuple[tuple[ContourFile, ...], list[str]]:
    """Return the contour files that belong to a CT; none, and why, where that is not sure."""
    for pair in pair_contours(export).found:
        if pair.series is chosen:
            return (pair.contours, []) if not pair.fault else ((), [f"left out: {pair.fault}"])
    return (), []


def _contours(file: ContourFile, ct: CtSeries) -> tuple[dict[str, PackedMask], list[str]]:
    """Read an RTSTRUCT or SEG; return axial masks, and what was odd."""
    structures = (read_rtstruct if file.modality == "RTSTRUCT" else read_seg)(file.path, ct)
    return _anonymous(_axial(structures, ct), ct), [f"{file.path.name}: {line}" for line in structures.report()]


def _axial(structures: Structures, ct: CtSeries) -> dict[str, PackedMask]:
    grid = ct.volume.geometry
    return {name: PackedMask(Volume(mask, grid).axial().array) for name, mask in structures.items()}


def _prediction(path: Path, ct: CtSeries) -> tuple[dict[str, PackedMask], list[str]]:
    if path.exists() and not split_name(path)[1]:
        with tolerant():
            found = scan_export(path).contours
        if len(found) > 1:
            raise NasosegError(
                f"{path}: holds {len(found)} RTSTRUCT or SEG files ({', '.join(c.path.name for c in found[:5])}),"
                " expected one: name the file"
            )
        if found:
            return _contours(found[0], ct)
    mask_files(path)  # says what was expected, also where the path is missing
    return _anonymous(read_masks(path, ct.volume.geometry.axial()), ct), []


def _anonymous(masks: Mapping[str, PackedMask], ct: CtSeries) -> dict[str, PackedMask]:
    """Take what names the patient out of the names of structures, some of which carry it."""
    named: dict[str, PackedMask] = {}
    names = without_identity(masks, ct.header, [])
    for number, (name, mask) in enumerate(zip(names, masks.values(), strict=True), start=1):
        named[own_name(name, number, named)] = mask
    return named
