"""Whether a structure set belongs to a CT: every place where it can say so, and every way it can be foreign."""

import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series
from generated_rtstruct import image, rtstruct, saved, square
from pydicom.uid import generate_uid

from nasoseg.errors import NasosegError
from nasoseg.volumes.rtstruct import read_rtstruct

GEOMETRY = axial_geometry((6, 20, 20), (3, 1, 1), origin=(-10, -10, 0))


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


@pytest.fixture
def dataset(ct):
    return rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})


def series_of(dataset: pydicom.Dataset) -> pydicom.Dataset:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    return study.RTReferencedSeriesSequence[0]


def set_frame(dataset: pydicom.Dataset, uid: str | None) -> None:
    """Put another frame of reference, or none, wherever the file has one."""
    for item in (*dataset.ReferencedFrameOfReferenceSequence, *dataset.StructureSetROISequence):
        for keyword in ("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID"):
            if keyword in item and uid is None:
                delattr(item, keyword)
            elif keyword in item:
                setattr(item, keyword, uid)


def set_images(dataset: pydicom.Dataset, *, series: str, images: list[str]) -> None:
    series_of(dataset).SeriesInstanceUID = series
    series_of(dataset).ContourImageSequence = [image(uid) for uid in images]


def read(dataset, ct, tmp_path, **options):
    return read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct, **options)


def refused(dataset, ct, tmp_path, *words: str, **options) -> None:
    with pytest.raises(NasosegError) as caught:
        read(dataset, ct, tmp_path, **options)
    for word in ("rt.dcm", *words):
        assert word in str(caught.value)


def test_the_same_frame_and_patient(dataset, ct, tmp_path):
    assert read(dataset, ct, tmp_path).report() == []


def test_another_patient(dataset, ct, tmp_path):
    dataset.PatientID = "P-2"
    refused(dataset, ct, tmp_path, "belongs to another patient than the CT")
    refused(dataset, ct, tmp_path, "belongs to another patient than the CT", trust_images=True)


@pytest.mark.parametrize("patient", ["", None, "P-1 "])
def test_a_patient_who_is_not_named_or_padded(dataset, ct, tmp_path, patient):
    dataset.PatientID = patient
    assert read(dataset, ct, tmp_path).report() == []


def test_another_frame_of_reference_with_other_images(dataset, ct, tmp_path):
    set_frame(dataset, "1.2.3")
    set_images(dataset, series="1.2.4", images=["1.2.5"])
    refused(dataset, ct, tmp_path, "drawn in frame of reference 1.2.3", ct.frame_of_reference_uid, "expected the same")
    refused(dataset, ct, tmp_path, "drawn in frame of reference 1.2.3", trust_images=True)
    set_images(dataset, series="1.2.4", images=[ct.planes[0].sop_instance_uid, "1.2.5"])  # not all are the CT's
    refused(dataset, ct, tmp_path, "drawn in frame of reference 1.2.3", trust_images=True)


def test_another_frame_of_reference_with_the_images_of_this_ct(dataset, ct, tmp_path):
    set_frame(dataset, "1.2.3")
    refused(dataset, ct, tmp_path, "All 6 images that it names are slices of this CT", "trust_images=True")
    structures = read(dataset, ct, tmp_path, trust_images=True)
    assert structures["One"][2].sum() == 49
    assert "accepted because it names this CT's images" in structures.remarks[0]


def test_images_may_be_named_by_the_contours_alone(dataset, ct, tmp_path):
    set_frame(dataset, "1.2.3")
    set_images(dataset, series="1.2.4", images=[])
    (contour,) = dataset.ROIContourSequence[0].ContourSequence
    contour.ContourImageSequence = [image(ct.planes[2].sop_instance_uid)]
    assert read(dataset, ct, tmp_path, trust_images=True)["One"].any()
    contour.ContourImageSequence = [image("1.2.5")]
    refused(dataset, ct, tmp_path, "drawn in frame of reference 1.2.3", trust_images=True)


@pytest.mark.parametrize("place", ["file", "sequence", "structure"])
def test_the_frame_may_stand_in_any_of_three_places(dataset, ct, tmp_path, place):
    set_frame(dataset, None)
    set_images(dataset, series="1.2.4", images=[])
    if place == "file":
        dataset.FrameOfReferenceUID = ct.frame_of_reference_uid
    elif place == "sequence":
        dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = ct.frame_of_reference_uid
    else:
        dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = ct.frame_of_reference_uid
    structures = read(dataset, ct, tmp_path)
    assert structures["One"].any()
    assert structures.remarks == (
        "the images that it names are not those of the CT: placed by position in the same frame",
    )


def test_one_structure_in_another_frame_is_left_out(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)], "MR": [square(6, -3.5, 3.5)]})
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"
    structures = read(dataset, ct, tmp_path)
    assert list(structures) == ["One"]
    assert structures.report() == ["MR (number 6): no mask: drawn in another frame of reference than the CT's"]


def test_no_frame_but_the_ct_is_named(dataset, ct, tmp_path):
    set_frame(dataset, None)
    structures = read(dataset, ct, tmp_path)
    assert structures["One"].any()
    assert "the file has no frame of reference: accepted" in structures.remarks[0]
    set_images(dataset, series="1.2.4", images=[ct.planes[3].sop_instance_uid])
    assert read(dataset, ct, tmp_path)["One"].any()
    set_images(dataset, series=ct.series_instance_uid, images=[])
    assert read(dataset, ct, tmp_path)["One"].any()


def test_no_frame_and_another_series_is_named(dataset, ct, tmp_path):
    set_frame(dataset, None)
    set_images(dataset, series="1.2.4", images=["1.2.5"])
    refused(dataset, ct, tmp_path, "the file has no frame of reference", "names other images", ct.series_instance_uid)


def unnamed(ct, contours) -> pydicom.Dataset:
    """Nothing but its places says where a structure set belongs."""
    dataset = rtstruct(ct, {"One": contours})
    del dataset.ReferencedFrameOfReferenceSequence
    del dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    return dataset


def triangle(column: float, row: float, z: float = 6):
    """A corner of a structure, two pixels wide, its outermost point there in the pixels of the CT."""
    x, y = column - 10, row - 10
    return "CLOSED_PLANAR", [(x, y, z), (x + 2, y, z), (x, y + 2, z)]


POINT = ("POINT", [(300, 0, 6)])  # fewer than three points say nothing
FITTING = square(6, -3.5, 3.5)
ELSEWHERE = square(6, -3.5, 3.5, x=30)


def test_nothing_is_named_and_the_places_decide(ct, tmp_path):
    structures = read(unnamed(ct, [FITTING]), ct, tmp_path)
    assert structures["One"].any()
    assert "accepted by its position alone" in structures.remarks[0]


@pytest.mark.parametrize(
    "contours",
    [
        pytest.param([triangle(-0.4, -0.4)], id="at the border"),
        pytest.param([triangle(-0.4, -0.4), POINT], id="and a point"),
        pytest.param([POINT, triangle(-0.4, -0.4)], id="a point first"),
        pytest.param([triangle(-0.9, 17)], id="not a pixel beyond the border"),
        pytest.param([triangle(17.9, 0)], id="not a pixel beyond the other border"),
        pytest.param([square(6.09, -3.5, 3.5)], id="within the tolerance of a plane"),
        pytest.param([FITTING] * 9 + [ELSEWHERE], id="nine of ten"),
    ],
)
def test_places_that_fit(ct, tmp_path, contours):
    assert read(unnamed(ct, contours), ct, tmp_path)["One"].any()


@pytest.mark.parametrize(
    "contours",
    [
        pytest.param([], id="none"),
        pytest.param([POINT], id="a point alone"),
        pytest.param([square(7.4, -3.5, 3.5)], id="between planes"),
        pytest.param([square(6.2, -3.5, 3.5)], id="beside a plane"),
        pytest.param([ELSEWHERE], id="beside the CT"),
        pytest.param([triangle(-1, 5)], id="a pixel beyond the border"),
        pytest.param([triangle(5, -1.5)], id="more than a pixel beyond the border"),
        pytest.param([triangle(18, 5)], id="a pixel beyond the other border"),
        pytest.param([triangle(5, 18)], id="a pixel beyond the last row"),
        pytest.param([ELSEWHERE] + [FITTING] * 8, id="eight of nine"),
    ],
)
def test_places_that_do_not_fit(ct, tmp_path, contours):
    words = ("nothing shows that it belongs to this CT", "Export it again with its references")
    refused(unnamed(ct, contours), ct, tmp_path, *words)


def test_places_fit_in_a_ct_with_more_rows_than_columns(tmp_path):
    tall = ct_series(axial_geometry((6, 20, 8), (3, 1, 1), origin=(-10, -10, 0)))
    assert read(unnamed(tall, [triangle(2, 15)]), tall, tmp_path)["One"].any()
    refused(unnamed(tall, [triangle(15, 2)]), tall, tmp_path, "nothing shows that it belongs to this CT")


def test_a_ct_without_a_frame_of_reference(tmp_path):
    ct = ct_series(GEOMETRY, header=ct_header(FrameOfReferenceUID=None))
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    set_frame(dataset, generate_uid())
    structures = read(dataset, ct, tmp_path)
    assert np.array_equal(np.flatnonzero(structures["One"].any(axis=(1, 2))), [2])
    assert "the CT has no frame of reference: accepted" in structures.remarks[0]
    set_images(dataset, series="1.2.4", images=["1.2.5"])
    refused(dataset, ct, tmp_path, "the CT has no frame of reference")
