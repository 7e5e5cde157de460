"""Masks on the store's grid as files on the patient's own."""

import numpy as np
import pytest

from nasoseg.data.mask_writing import write_masks
from nasoseg.data.store import Patient, Store, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP
from nasoseg.volumes.nifti import read_label_map
from nasoseg.volumes.volume import Geometry

SHAPE = (2, 3, 4)


@pytest.fixture
def store(tmp_path):
    """One patient whose file has its columns to Right, and one column more, at the Left, than the store."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])[:, [2, 1, 0, 3]]  # slices to Superior, rows to Posterior, columns to Left
    source = np.diag([-1.0, 1.0, 2.0, 1.0])
    source[0, 3] = 4.0
    image, labels = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint16)
    patient = Patient("p", image, labels, np.ones(2, bool), affine, Geometry((5, 3, 2), source))
    write_store(tmp_path / "one.h5", [patient], OPENKBP[:2])
    return Store(tmp_path / "one.h5")


def test_overlapping_masks_lie_where_they_were(store, tmp_path):
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[1, 2, 3] = second[1, 2, 3] = second[0, 0, 0] = True
    for _ in range(2):  # the second time over the files of the first
        write_masks(tmp_path / "masks", {"A": first, "B": second}, store=store, key="p")
    found = {path.name: read_label_map(path) for path in (tmp_path / "masks" / "p").iterdir()}
    assert sorted(found) == ["A.nii.gz", "B.nii.gz"]
    # In the file, LPS x is 4 minus the first index; in the store, x is the column.
    assert np.argwhere(found["A.nii.gz"].array).tolist() == [[1, 2, 1]]
    assert np.argwhere(found["B.nii.gz"].array).tolist() == [[1, 2, 1], [4, 0, 0]]
    assert found["A.nii.gz"].array.dtype == np.uint8
    assert found["A.nii.gz"].geometry.matches(store.source("p"))


def test_a_mask_on_another_grid_is_refused(store, tmp_path):
    with pytest.raises(NasosegError, match=r"found bool \(2, 3, 5\), expected .* of shape \(2, 3, 4\)"):
        write_masks(tmp_path / "masks", {"A": np.zeros((2, 3, 5), bool)}, store=store, key="p")
