import pytest

from nasoseg.data.embedded import SAMPLE, embedded_store, open_store
from nasoseg.errors import NasosegError


def test_a_store_is_opened_by_its_path(small_store):
    with open_store(small_store.path) as store:
        assert store.content_sha256 == small_store.content_sha256
    with pytest.raises(NasosegError, match="samples: no such store"):
        open_store("samples")


def test_the_carried_sample_is_opened_by_its_name(sample_root):
    with open_store(SAMPLE) as store:
        assert store.path == embedded_store()
        assert store.keys == sorted(folder.name for folder in sample_root.iterdir() if folder.is_dir())
