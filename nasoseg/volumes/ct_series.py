"""A CT series as read: one straight volume, and the original planes that contours are drawn on."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pydicom

from nasoseg.volumes.volume import Volume


@dataclass(frozen=True)
class SlicePlane:
    """Place one original slice in the patient.

    Attributes:
        sop_instance_uid: The image object that holds the slice.
        sop_class_uid: Its kind.
        frame: The frame's number in an enhanced multi-frame object, from 1; None for a single-frame object.
        affine_lps: 4 x 3; maps (row index, column index, 1) to homogeneous LPS millimetres of the pixel's centre.
        rows: Number of pixel rows.
        columns: Number of pixel columns.
    """

    sop_instance_uid: str
    sop_class_uid: str
    frame: int | None
    affine_lps: npt.NDArray[np.float64]
    rows: int
    columns: int


@dataclass(frozen=True)
class CtSeries:
    """Hold one CT series.

    Attributes:
        volume: HU; axes (slice along the normal, rising; row; column) on a straight, uniform grid.
        planes: The original slices, sorted along the normal.
        straight: Whether the volume's slices are exactly the planes, in the same order.
        header: The first slice's attributes without its pixels: patient, study, series and frame of reference.
        frame_of_reference_uid: Of the coordinates; empty where the images do not say.
        study_instance_uid: Of the study.
        series_instance_uid: Of the series.
        remarks: What was odd about the series, in words.
    """

    volume: Volume
    planes: tuple[SlicePlane, ...]
    straight: bool
    header: pydicom.Dataset = field(repr=False)  # it names the patient
    frame_of_reference_uid: str
    study_instance_uid: str
    series_instance_uid: str
    remarks: tuple[str, ...] = ()
