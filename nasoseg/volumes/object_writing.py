"""How every DICOM object made of masks begins and ends: its structures' labels, its frame of reference, its file."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.uid import generate_uid

from nasoseg.errors import NasosegError, writing
from nasoseg.files import whole_file
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.roi_labels import roi_labels
from nasoseg.volumes.structure_set import Roi


@dataclass(frozen=True)
class Beginning:
    """Hold what is settled before the first mask is written.

    Attributes:
        labels: A label for every structure.
        frame: UID of the frame of reference: the CT's, or a new one where it has none.
        remarks: Names that had to be changed, a frame that is new; the writer adds to them.
    """

    labels: dict[str, Roi]
    frame: str
    remarks: list[str]


def begin_object(
    path: str | os.PathLike[str],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    ct: CtSeries,
    *,
    rois: Mapping[str, Roi] | None,
    drawn: str,
) -> Beginning:
    """Label the structures and settle the frame of reference.

    Args:
        path: The file to be written.
        masks: Masks by structure.
        ct: The CT that they lie on.
        rois: Labels to use for some of them; see ``roi_labels``.
        drawn: What the object holds, for the remarks: ``contours`` or ``masks``.

    Raises:
        NasosegError: If there is no mask, or a name is not printable.
    """
    if not masks:
        raise NasosegError(f"{path}: found no mask, expected one or more to write")
    labels, remarks = roi_labels(masks, rois=rois)
    frame = ct.frame_of_reference_uid
    if not frame:
        frame = str(generate_uid())
        remarks.append(f"the CT has no frame of reference: the {drawn} got a new one, and name the CT's images")
    return Beginning(labels, frame, remarks)


@contextmanager
def object_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the temporary name that an object is written under; it becomes ``path`` when it is complete.

    Raises:
        NasosegError: If the disk is full or not writable.
    """
    with writing(path), whole_file(path) as temporary:
        yield temporary
