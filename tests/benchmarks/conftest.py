"""The benchmarks are scripts in a folder, not a package: they are imported as they import each other."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = [Path(__file__).parents[2] / "benchmarks" / name for name in ("speed", "accuracy")]


@pytest.fixture(autouse=True, scope="package")
def scripts_on_path() -> Iterator[None]:
    sys.path[:0] = map(str, FOLDERS)
    yield
    for folder in FOLDERS:
        sys.path.remove(str(folder))


@pytest.fixture(autouse=True)
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the scripts set it, and it is put back afterwards
