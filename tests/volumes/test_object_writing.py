"""What all objects made of masks share; the errors and remarks are worded here."""

import errno

import numpy as np
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series

from nasoseg.errors import NasosegError
from nasoseg.volumes.object_writing import begin_object, object_file

GEOMETRY = axial_geometry((2, 4, 4))
MASKS = {"Brainstem": np.zeros(GEOMETRY.shape, bool), "Eye": np.zeros(GEOMETRY.shape, bool)}


def test_structures_are_labelled_and_the_cts_frame_is_kept(tmp_path):
    ct = ct_series(GEOMETRY)
    begun = begin_object(tmp_path / "object.dcm", MASKS, ct, rois=None, drawn="masks")
    assert [(name, roi.number) for name, roi in begun.labels.items()] == [("Brainstem", 1), ("Eye", 2)]
    assert begun.frame == ct.frame_of_reference_uid != ""
    assert begun.remarks == []


def test_a_ct_without_a_frame_gets_one_and_it_is_said(tmp_path):
    ct = ct_series(GEOMETRY, header=ct_header(FrameOfReferenceUID=None))
    first, second = (begin_object(tmp_path / "object.dcm", MASKS, ct, rois=None, drawn="masks") for _ in range(2))
    assert "" != first.frame != second.frame
    assert first.remarks == ["the CT has no frame of reference: the masks got a new one, and name the CT's images"]


def test_without_a_mask_there_is_nothing_to_write(tmp_path):
    with pytest.raises(NasosegError, match=r"object\.dcm: found no mask, expected one or more to write"):
        begin_object(tmp_path / "object.dcm", {}, ct_series(GEOMETRY), rois=None, drawn="masks")


def test_a_full_disk_leaves_nothing_and_is_told(tmp_path):
    def write():
        with object_file(tmp_path / "object.dcm") as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NasosegError, match=r"object\.dcm: could not be written \(No space left on device\): free disk"):
        write()
    assert list(tmp_path.iterdir()) == []
