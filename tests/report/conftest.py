"""A benchmark of two methods with names that would act on a page, were they not escaped; and its page."""

import csv
from pathlib import Path

import pytest
from page_runs import EVIL_METHOD, EVIL_PATIENT, EVIL_STRUCTURE, ORGANS, write_whole_run

from nasoseg.data.store import Store
from nasoseg.report.page import write_page


@pytest.fixture(scope="session")
def benchmark_runs(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for method, level, name in (("two_stage", 0.8, "two_stage"), (EVIL_METHOD, 0.7, "other")):
        run = root / "clean" / name / "fold0"
        split = write_whole_run(run, small_store, method, level=level, structures=ORGANS)
        context = (method, "clean", "0", small_store.short_sha256, split.sha256[:12])
        with (run / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow((*context, EVIL_PATIENT, EVIL_STRUCTURE, "volume", "dsc", 0.123))
    return root


@pytest.fixture(scope="session")
def written(benchmark_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page([benchmark_runs], tmp_path_factory.mktemp("page") / "new", reference="two_stage", resamples=20)
