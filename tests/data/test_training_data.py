import dataclasses
import json

import numpy as np
import pytest

import nasoseg
from nasoseg.data.training_data import Range, describe_training_data, read_training_data, training_data_from
from nasoseg.errors import NasosegError


@pytest.fixture(scope="module")
def data(small_store):
    data = nasoseg.SliceDataModule(
        small_store.path, labels=["Larynx", "Brainstem"], folds=4, windows_hu=[(-160, 240), (-1000, 1000)], context=2
    )
    data.setup()
    return data


def test_it_describes_the_training_patients_alone(data, small_store):
    found = describe_training_data(data)
    keys = list(data.slices("train"))
    assert (found.patients, found.context) == (len(keys), 2)
    assert found.windows_hu == ((-160.0, 240.0), (-1000.0, 1000.0))
    spacing = np.array([small_store.geometry(key).spacing_mm for key in keys])
    assert found.slice_mm is not None
    assert found.slice_mm.median == pytest.approx(np.median(spacing[:, 0]), abs=1e-4)
    assert found.pixel_mm is not None
    assert (found.pixel_mm.smallest, found.pixel_mm.largest) == pytest.approx(
        (spacing[:, 1:].min(), spacing[:, 1:].max()), abs=1e-4
    )
    assert found.field_mm is not None
    assert found.field_mm.largest == pytest.approx(128 * spacing[:, 1:].max(), abs=0.01)
    brainstem = small_store.names.index("Brainstem")
    volumes = [
        small_store.voxels[key][:, brainstem].sum() * small_store.geometry(key).spacing_mm.prod() / 1000 for key in keys
    ]
    drawn = [volume for volume in volumes if volume]
    assert list(found.volumes_ml) == ["Larynx", "Brainstem"]
    assert found.volumes_ml["Brainstem"].largest == pytest.approx(max(drawn), abs=1e-3)
    assert found.volumes_ml["Brainstem"].smallest == pytest.approx(min(drawn), abs=1e-3)


def test_it_is_written_and_read_without_loss(data, tmp_path):
    found = describe_training_data(data)
    found.write(tmp_path / "training_data.json")
    assert read_training_data(tmp_path / "training_data.json") == found
    assert training_data_from(json.loads(json.dumps(found.as_dict()))) == found
    unknown = dataclasses.replace(found, patients=0, pixel_mm=None, slice_mm=None, field_mm=None, volumes_ml={})
    assert training_data_from(unknown.as_dict()) == unknown


def test_ranges_cover_their_ends_and_a_share_beyond():
    found = Range(1.0, 2.0, 3.0)
    assert found.covers(1.0)
    assert found.covers(3.0)
    assert not found.covers(3.01)
    assert found.covers(3.29, tolerance=0.1)
    assert found.covers(0.91, tolerance=0.1)
    assert not found.covers(0.89, tolerance=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"windows_hu": []},
        {"windows_hu": [[240, -160]]},
        {"windows_hu": "soft"},
        {"context": -1},
        {"pixel_mm": {"smallest": 2, "median": 1, "largest": 3}},
        {"pixel_mm": {"smallest": 1, "median": 1}},
        {"slice_mm": {"smallest": 1, "median": 2, "largest": float("inf")}},
        {"volumes_ml": [1]},
    ],
)
def test_a_damaged_description_is_refused(data, tmp_path, change):
    plain = describe_training_data(data).as_dict() | change
    path = tmp_path / "training_data.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(NasosegError, match=r"training_data\.json: cannot be read as a run's training data"):
        read_training_data(path)
