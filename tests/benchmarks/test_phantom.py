"""Generated patients: the same for the same seed, and what a store of them says."""

import numpy as np
import pytest

from nasoseg.data.store import count_voxels


@pytest.fixture(scope="module")
def phantom():
    from phantom import phantom

    return phantom


@pytest.mark.parametrize("structures", [1, 10, 64])
def test_every_structure_is_there_and_none_overlaps(phantom, structures):
    patient = phantom(3, slices=30, side=128, structures=structures)
    counted = count_voxels(patient.labels, structures)
    assert (counted.sum(axis=0) > 0).all()
    assert (counted == 0).any(axis=1).any()  # not on every slice
    assert counted.sum() == np.count_nonzero(patient.labels)
    assert patient.image.dtype == np.int16
    assert patient.image.min() < -900
    assert patient.image.max() > 600


def test_a_seed_makes_one_patient(phantom):
    once, again, other = (phantom(seed, slices=2, side=32) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once.image, again.image)
    np.testing.assert_array_equal(once.labels, again.labels)
    assert (once.image != other.image).any()


def test_a_store_of_phantoms_is_written_once(tmp_path):
    from phantom import phantom_store

    store = phantom_store(tmp_path / "new" / "phantom.h5", 2, slices=3, side=32, structures=20)
    assert store.keys == ["phantom_00000", "phantom_00001"]
    assert len(store.names) == 20
    assert store.geometry(store.keys[0]).shape == (3, 32, 32)
    written = store.path.stat().st_mtime_ns
    phantom_store(store.path, 2)
    assert store.path.stat().st_mtime_ns == written
