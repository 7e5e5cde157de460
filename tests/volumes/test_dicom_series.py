"""Which CT of an export is meant: chosen, listed, or not there."""

import os

import numpy as np
import pytest
from generated_dicom import anatomy, uid, write_ct, write_other
from pydicom.uid import (
    RTStructureSetStorage,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct


def test_several_series_are_listed_and_chosen(tmp_path):
    soft, bone = anatomy(), anatomy(seed=1)
    write_ct(tmp_path / "a", soft, series="soft")
    write_ct(tmp_path / "b", bone, series="bone")
    with pytest.raises(NasosegError) as raised:
        read_ct(tmp_path)
    told = str(raised.value)
    assert "2 CT series, expected one: choose with --series NUMBER" in told
    for number, name in enumerate(("soft", "bone"), start=1):
        assert f"\n  {number}: {uid('P1', name)}: '{name} 2.5 mm' slices: 5" in told
    wanted = uid("P1", "bone")
    for choice in (wanted, "2", wanted[:30], wanted[-8:]):
        ct = read_ct(tmp_path, series=choice)
        assert ct.series_instance_uid == wanted
        assert np.array_equal(ct.volume.array, bone)
    assert np.array_equal(read_ct(tmp_path, series="1").volume.array, soft)


def test_a_whole_uid_is_chosen_before_what_begins_with_it(tmp_path):
    for number, series in enumerate(("1.2.3", "1.2.34", "9.8")):
        name = {"SeriesInstanceUID": series, "FrameOfReferenceUID": "1.4"}
        write_ct(tmp_path / series, anatomy(seed=number), edit=lambda d, z, name=name: d.update(name))
    assert np.array_equal(read_ct(tmp_path, series="1.2.3").volume.array, anatomy())
    assert np.array_equal(read_ct(tmp_path, series=".8").volume.array, anatomy(seed=2))


@pytest.mark.parametrize("count", [2, 20, 21])
def test_twenty_series_are_listed(tmp_path, count):
    def plain(dataset, z):
        del dataset.SeriesDescription, dataset.SeriesInstanceUID

    for number in range(count):
        write_ct(tmp_path / f"{number:02}", anatomy((2, 4, 4)), edit=plain)
    with pytest.raises(NasosegError) as raised:
        read_ct(tmp_path)
    lines = str(raised.value).splitlines()[1:]
    assert lines[:20] == [
        f"  {n + 1}: (no UID): slices: 2, first file: {n:02}{os.sep}0037.dcm" for n in range(min(count, 20))
    ]
    assert lines[20:] == ["  and 1 more"] * (count > 20)


@pytest.mark.parametrize("choice", ["3", "0", "2.25", "1.2.3", "1.2.826", "", "bone"])
def test_a_choice_that_fits_none_or_several_is_refused(tmp_path, choice):
    write_ct(tmp_path / "a", anatomy(), series="soft")
    write_ct(tmp_path / "b", anatomy(), series="bone")
    found = 2 if choice == "1.2.826" else "none"  # how both begin
    with pytest.raises(NasosegError, match=rf"2 CT series, {found} of which fits --series"):
        read_ct(tmp_path, series=choice)


def test_orientations_of_one_series_are_two(tmp_path):
    coronal = np.array([[0, 0, 0.9, 0], [2.5, 0, 0, 0], [0, -0.8, 0, 0], [0, 0, 0, 1]])
    write_ct(tmp_path / "axial", anatomy())
    write_ct(tmp_path / "coronal", anatomy(seed=1), coronal)
    with pytest.raises(NasosegError, match="2 CT series"):
        read_ct(tmp_path, series=uid("P1", "series"))
    assert np.array_equal(read_ct(tmp_path, series="2").volume.array, anatomy(seed=1))


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "ImageOrientationPatient"])
def test_a_slice_that_parts_from_its_series_is_asked_about(tmp_path, keyword):
    def parted(dataset, z):
        if z == 4:  # at the end, where no gap would tell
            turned = ["0.9950041653", "0.0998334166", "0", "-0.0998334166", "0.9950041653", "0"]
            dataset[keyword].value = uid("other") if keyword.endswith("UID") else turned

    write_ct(tmp_path, anatomy(), edit=parted)
    with pytest.raises(NasosegError, match=r"2 CT series[\s\S]*slices: 1,[\s\S]*slices: 4,"):
        read_ct(tmp_path)
    assert len(read_ct(tmp_path, series="2").planes) == 4


def test_a_series_of_two_slices_is_chosen_before_one_of_one(tmp_path):
    write_ct(tmp_path / "a", anatomy((2, 4, 4)), series="two")
    write_ct(tmp_path / "b", anatomy((1, 4, 4)), series="one")
    assert read_ct(tmp_path).volume.array.shape == (2, 4, 4)


def test_no_ct_lists_contours_and_images_of_no_kind(tmp_path):
    write_other(tmp_path / "a.dcm", "RTSTRUCT", RTStructureSetStorage)
    write_other(tmp_path / "b.dcm", "", "", SOPClassUID="1.2.3")
    with pytest.raises(NasosegError, match=r"no CT series found \(it holds 1 unknown, 1 RTSTRUCT\): expected one"):
        read_ct(tmp_path)


def test_ct_images_that_lie_nowhere_are_no_ct(tmp_path):
    def unplaced(dataset, z):
        del dataset.ImagePositionPatient

    first, *_ = sorted(write_ct(tmp_path, anatomy(), edit=unplaced))
    with pytest.raises(NasosegError) as raised:
        read_ct(tmp_path)
    assert str(raised.value).startswith(f"{first}: does not say where its image lies")
    assert "so do 5 files of its series" in str(raised.value)


def test_what_is_not_dicom_is_named_up_to_three(tmp_path):
    for name in "abcd":
        (tmp_path / name).write_text("nothing here")
    with pytest.raises(NasosegError, match=r"it holds no DICOM file \(not DICOM and passed over: a, b, c, ... \(4 in"):
        read_ct(tmp_path)


@pytest.mark.parametrize("name", [None, "notes.txt"])
def test_folder_without_dicom(tmp_path, name):
    if name:
        (tmp_path / name).write_text("nothing here")
    with pytest.raises(NasosegError, match=r"no CT series found \(it holds no DICOM file") as raised:
        read_ct(tmp_path)
    assert name is None or name in str(raised.value)


def test_missing_path():
    with pytest.raises(NasosegError, match="no such file or folder"):
        read_ct("/nowhere/at/all")


def test_one_slice_of_a_series_by_its_path(tmp_path):
    path, *_ = write_ct(tmp_path, anatomy())
    with pytest.raises(NasosegError, match="a CT series of 1 slices"):
        read_ct(path)
