"""Small studies, a store and a run on which every command takes a second, and where the commands run."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from generated_studies import write_patients
from warm_process import Server

from nasoseg.data.prepare import prepare_nifti

FIT = {
    "model": {"class_path": "nasoseg.UNet", "init_args": {"depth": 2, "width": 2}},
    "data": {"folds": 3, "batch_size": 8, "augmentation": {"class_path": "nasoseg.Augmentation"}, "workers": 0},
    "trainer": {"max_epochs": 3, "accelerator": "cpu"},
}


@pytest.fixture(scope="session")
def warm() -> Iterator[Server]:
    """A server that runs commands without a start."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc, as on Linux")
    folder = Path(tempfile.mkdtemp(prefix="warm"))  # a socket's path must be short
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        patch.setenv("MPLBACKEND", "Agg")
        server = Server(folder)
    yield server
    server.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients as NIfTI, 24 x 20 x 8 voxels each."""
    return write_patients(tmp_path_factory.mktemp("studies") / "studies")


@pytest.fixture(scope="session")
def store(studies: Path) -> Path:
    """Their store, 32 x 32 pixels a slice."""
    prepare_nifti(studies, studies.parent / "store.h5", size=32, workers=1)
    return studies.parent / "store.h5"


@pytest.fixture(scope="session")
def fit_config(store: Path) -> Path:
    """A config that trains a very small network for three epochs."""
    config = FIT | {"data": FIT["data"] | {"store": str(store)}}
    path = store.with_name("fit.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="session")
def run_folder(warm: Server, fit_config: Path) -> Path:
    """A run of it, trained, tested and predicted."""
    run = fit_config.with_name("run")
    for command in (["fit", "--config", fit_config, "--run", run], ["predict", "--config", run / "config.yaml"]):
        code, said = warm.run(*command, log=fit_config.with_name("run.log"))
        assert code == 0, said
    return run
