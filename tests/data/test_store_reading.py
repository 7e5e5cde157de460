"""Datasets that stay open between reads: no more than so many, and never those of another file."""

import shutil

import numpy as np

from nasoseg.data import store as stores
from nasoseg.data.store import Store


def test_more_patients_than_may_stay_open_are_read_right(small_store, monkeypatch):
    expected = {key: small_store.read(key, "image", 3) for key in small_store.keys}
    monkeypatch.setattr(stores, "_MOST_OPEN", 3)
    reader = Store(small_store.path)
    for key in [*small_store.keys, *small_store.keys[::-1]]:
        np.testing.assert_array_equal(reader.read(key, "image", 3), expected[key])
        assert reader.read(key, "labels", slice(0, 2)).shape == (2, 128, 128)
    assert len(reader._datasets) == 3
    reader.close()


def test_a_closed_store_is_opened_anew(small_store, tmp_path):
    path = tmp_path / "copy.h5"
    shutil.copy(small_store.path, path)
    reader = Store(path)
    key = reader.keys[0]
    before = reader.read(key, "image", 0)
    reader.close()
    path.rename(tmp_path / "moved.h5")
    shutil.copy(small_store.path, path)
    np.testing.assert_array_equal(reader.read(key, "image", 0), before)
    reader.close()
