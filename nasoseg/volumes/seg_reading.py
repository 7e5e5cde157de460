"""DICOM SEG in: segments to masks on the grid of the CT that they were made on."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom

from nasoseg.errors import NasosegError
from nasoseg.volumes.belonging import Reference, check_belonging
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom_header import items, numbers, text
from nasoseg.volumes.dicom_object import read_object, understood
from nasoseg.volumes.plane_stack import PlaneStack
from nasoseg.volumes.structure_set import PackedMask, Roi, Structures, chosen, own_name

SEG = {"1.2.840.10008.5.1.4.1.1.66.4": "SEG", "1.2.840.10008.5.1.4.1.1.66.7": "SEG"}
"""The SOP classes of segmentations: of bits or fractions, and of label maps."""

_OFF_GRID_PX = 0.1  # by which a frame may lie beside the CT's pixels


def read_seg(
    path: str | os.PathLike[str],
    ct: CtSeries,
    *,
    names: Iterable[str] | None = None,
    trust_images: bool = False,
) -> Structures:
    """Read the segments of a DICOM SEG as masks on the grid of ``ct.volume``.

    Nothing is interpolated: frames must lie on the CT's pixels, in any of the eight ways to turn and mirror rows and
    columns, and may show a part of a plane. A frame that lies on no plane of the CT is left out, which
    ``Structures.report`` tells. Fractions are inside from one half on. In a resampled volume, every slice shows the
    original plane that is nearest, moved by whole pixels.

    Args:
        path: The file.
        ct: The CT.
        names: The segments to read, by their labels; None: all.
        trust_images: Accept another frame of reference where every image that the file names is a slice of this CT.

    Raises:
        NasosegError: If the file is no SEG or cannot be understood; if it belongs to another patient or CT; if it is
            not on the CT's pixels; if it has none of a name in ``names``.
    """
    path = Path(path)
    dataset = read_object(path, SEG)
    stack = PlaneStack(ct)
    with understood(path, "SEG"):
        frames = _frames(dataset)
        remarks = check_belonging(
            path,
            _reference(dataset),
            ct,
            trust_images=trust_images,
            places_fit=lambda: all(stack.lies_on(frame.corners_lps(dataset)) is not None for frame in frames),
        )
        rois = chosen(path, {roi.name: roi for roi in _rois(dataset)}, names)
        source = _Source(path, dataset, frames, ct.straight)
        return Structures((_masked(roi, source, stack) for roi in rois), remarks=remarks)


@dataclass(frozen=True)
class _Frame:
    """Place one frame: its number from 1, its segment (None in a label map), (row, column, 1) to LPS (3 x 3)."""

    number: int
    segment: int | None
    lps_from_pixel: npt.NDArray[np.float64]

    def corners_lps(self, dataset: pydicom.Dataset) -> npt.NDArray[np.float64]:
        last = np.array([dataset.Rows, dataset.Columns]) - 1
        return np.array([self.lps_from_pixel @ [*corner, 1] for corner in ([0, 0], [last[0], 0], [0, last[1]], last)])


def _frames(dataset: pydicom.Dataset) -> list[_Frame]:
    shared = (items(dataset, "SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    frames = []
    for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):

        def group(keyword: str, own: pydicom.Dataset = own) -> pydicom.Dataset:
            return (items(own, keyword) or items(shared, keyword))[0]

        origin = np.array(numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3))
        cosines = np.array(numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6))
        spacing = np.array(numbers(group("PixelMeasuresSequence"), "PixelSpacing", 2))
        affine = np.stack([cosines[3:] * spacing[0], cosines[:3] * spacing[1], origin], axis=1)
        is_map = text(dataset, "SegmentationType") == "LABELMAP"
        segment = None if is_map else int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
        frames.append(_Frame(number, segment, affine))
    return frames


def _reference(dataset: pydicom.Dataset) -> Reference:
    series = items(dataset, "ReferencedSeriesSequence")
    images = {
        text(image, "ReferencedSOPInstanceUID") for one in series for image in items(one, "ReferencedInstanceSequence")
    }
    return Reference(
        text(dataset, "PatientID"),
        frozenset({text(dataset, "FrameOfReferenceUID")} - {""}),
        frozenset({text(one, "SeriesInstanceUID") for one in series} - {""}),
        frozenset(images - {""}),
    )


def _rois(dataset: pydicom.Dataset) -> list[Roi]:
    rois: list[Roi] = []
    taken: set[str] = set()
    for segment in items(dataset, "SegmentSequence"):
        number = int(segment.SegmentNumber)
        name = own_name(text(segment, "SegmentLabel"), number, taken)
        taken.add(name)
        value = numbers(segment, "RecommendedDisplayCIELabValue", 3)
        colour = None
        if value is not None:
            lab = hd.color.CIELabColor.from_dicom_value([int(part) for part in value])
            colour = lab.to_rgb(clip=True)
        if text(dataset, "SegmentationType") != "LABELMAP" or number:  # in a label map, 0 may be described: background
            rois.append(Roi(name, number, colour=colour))
    return rois


class _Source:
    """Decode the frames of a SEG, one at a time."""

    def __init__(self, path: Path, dataset: pydicom.Dataset, frames: Sequence[_Frame], exact: bool) -> None:
        self.path, self.dataset, self.frames, self.exact = path, dataset, frames, exact
        self._segmentation = hd.seg.Segmentation.from_dataset(dataset, copy=False)
        fractional = text(dataset, "SegmentationType") == "FRACTIONAL"
        self._inside_from = int(dataset.MaximumFractionalValue) / 2 if fractional else 1

    def pixels(self, frame: _Frame, segment: int) -> npt.NDArray[np.bool_]:
        """Return the pixels of a segment on one frame (rows, columns)."""
        stored = self._segmentation.get_stored_frame(frame.number)
        return np.asarray(stored == segment if frame.segment is None else stored >= self._inside_from)


def _masked(roi: Roi, source: _Source, stack: PlaneStack) -> tuple[Roi, PackedMask | None]:
    mask = np.zeros(stack.shape, bool)
    odd: Counter[str] = Counter()
    for frame in source.frames:
        if frame.segment not in (None, roi.number):
            continue
        plane = stack.lies_on(frame.corners_lps(source.dataset))
        if plane is None:
            odd["on no slice of the CT left out"] += 1
            continue
        pixels = source.pixels(frame, roi.number)
        for slice_, shift in stack.slices(plane):
            matrix = stack.pixels_from(frame.lps_from_pixel)
            matrix[:, 2] += shift
            placed = _placed(pixels, matrix, mask[slice_].shape, exact=source.exact)
            if placed is None:
                raise NasosegError(
                    f"{source.path}: segment {roi.name!r} does not lie on the pixels of the CT: expected frames of the"
                    " same pixel size and direction, apart by whole pixels: resample it onto the CT first"
                )
            mask[slice_] |= placed
    packed = PackedMask(mask)
    remarks = [f"{count} frame{'s' if count > 1 else ''} {what}" for what, count in odd.items()]
    if not packed.voxels and not remarks:
        remarks = ["it has no pixel"]
    return replace(roi, remarks=tuple(remarks)), packed if packed.voxels else None


def _placed(
    pixels: npt.NDArray[np.bool_], matrix: npt.NDArray[np.float64], shape: tuple[int, int], *, exact: bool
) -> npt.NDArray[np.bool_] | None:
    """Put a frame into a plane of ``shape``.

    Args:
        pixels: The frame (rows, columns).
        matrix: 2 x 3; maps the frame's (row, column, 1) to (row, column) of the plane.
        shape: Rows and columns of the plane.
        exact: Refuse pixels that lie beside those of the plane; otherwise they go to the nearest.

    Returns:
        The plane; None where the frame is turned or scaled otherwise than by mirroring and swapping its axes.
    """
    signs, start = np.rint(matrix[:, :2]), matrix[:, 2].copy()
    drift = (np.abs(matrix[:, :2] - signs) * pixels.shape).max()
    if drift > _OFF_GRID_PX or np.abs(signs).sum() != 2 or np.abs(np.linalg.det(signs)) != 1:
        return None
    if signs[0, 0] == 0:
        pixels, signs = pixels.T, signs[:, ::-1]
    for axis in (0, 1):
        if signs[axis, axis] < 0:
            pixels = np.flip(pixels, axis)
            start[axis] -= pixels.shape[axis] - 1
    first = np.rint(start).astype(int)
    if exact and np.abs(start - first).max() > _OFF_GRID_PX:
        return None
    into, low = np.zeros(shape, bool), np.maximum(first, 0)
    high = np.minimum(first + pixels.shape, shape)
    if (high > low).all():
        into[low[0] : high[0], low[1] : high[1]] = pixels[
            low[0] - first[0] : high[0] - first[0], low[1] - first[1] : high[1] - first[1]
        ]
    return into
