import numpy as np

from nasoseg.data.training_data import Range, TrainingData
from nasoseg.inference.plausibility import scan_warnings, structure_warnings
from nasoseg.volumes.volume import Geometry, Volume

TRAINING = TrainingData(
    ((-160.0, 240.0),),
    patients=3,
    pixel_mm=Range(1, 1, 1),
    slice_mm=Range(2.5, 3, 3),
    field_mm=Range(18, 20, 22),
    volumes_ml={"Larynx": Range(10, 20, 30)},
)


def scan(*, slice_mm: float = 3, pixel_mm: float = 1, offset: int = 0, factor: float = 1) -> Volume:
    hu = np.full((6, 20, 20), 40)
    hu[:, :8] = -1000
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [slice_mm, pixel_mm, pixel_mm, 1]
    return Volume(np.rint(hu * factor + offset).astype(np.int16), Geometry(hu.shape, affine))


def test_a_scan_like_the_trainings_gives_no_warning():
    assert scan_warnings(scan(), TRAINING) == []
    assert scan_warnings(scan(), TrainingData(((-160.0, 240.0),))) == []  # nothing is known of the training


def test_what_is_not_in_hu_is_noticed():
    assert "no air" in scan_warnings(scan(offset=1024), TRAINING)[0]
    assert "no body" in scan_warnings(scan(offset=-1024), TRAINING)[0]
    assert "no air" in scan_warnings(scan(factor=0.001), TRAINING)[0]
    assert "median of the body is 640" in scan_warnings(scan(offset=600), TRAINING)[0]


def test_another_field_or_slice_distance_is_noticed():
    assert scan_warnings(scan(slice_mm=5), TRAINING)[0].startswith(
        "the slices are 5.00 mm apart, those of the training"
    )
    assert scan_warnings(scan(pixel_mm=2.5), TRAINING)[0].startswith("the field of view is 50 mm wide")


def test_a_structure_far_from_its_usual_size_is_noticed():
    def warnings(volume: float, at_end: bool = False) -> list[str]:
        return structure_warnings({"Larynx": volume}, TRAINING, at_ends={"Larynx": at_end})

    assert warnings(5.1) == warnings(59) == []
    assert warnings(4.9) == ["Larynx: 4.9 ml, in the training 10 to 30 ml"]
    assert warnings(61, True) == ["Larynx: 61 ml, in the training 10 to 30 ml; it reaches the end of the scan"]
    assert warnings(0) == ["Larynx: not found"]
    assert structure_warnings({"Heart": 700.0}, TRAINING, at_ends={}) == []
