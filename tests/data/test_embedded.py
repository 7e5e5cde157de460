import os
import subprocess
import sys

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


def test_two_processes_may_make_the_store_at_once(tmp_path):
    command = [sys.executable, "-c", "from nasoseg.data.embedded import embedded_store; print(embedded_store())"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert {str(path) for path in (tmp_path / "nasoseg").iterdir()} == said
