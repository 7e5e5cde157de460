"""Fixtures that many tests share: the carried sample, a small store cut from it, and OpenKBP where it lies beside."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_files import read_nifti

import nasoseg
from nasoseg.data.store import Patient, Store, pack_planes, write_store
from nasoseg.labels import OPENKBP
from nasoseg.volumes.volume import Geometry

with suppress(ImportError):
    # It keeps the streams that it finds at its import, by default in the first run: a test's own are closed soon.
    import wandb.sdk.lib.console_capture  # noqa: F401

SLICES = 8  # of every patient in the small store


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Compute in one thread: with small tensors, and beside other work, torch's threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sample_root() -> Path:
    """The folder of the twelve real patients that the package carries."""
    return Path(nasoseg.__file__).parent / "data" / "sample"


@pytest.fixture(scope="session")
def openkbp(request: pytest.FixtureRequest) -> Path:
    """The folder of all 124 patients, beside the project where a machine has it."""
    root = request.config.rootpath.parent / "shared" / "data" / "openkbp"
    if not root.is_dir():
        pytest.skip("the 124 patients of OpenKBP are not beside the project")
    return root


def thin_patient(folder: Path) -> Patient:
    """Read one sample patient and keep eight slices, evenly apart, from the first labelled one to the last."""
    scan = read_nifti(folder / "ct.nii.gz")
    files = {i: folder / "segmentations" / f"{s.name}.nii.gz" for i, s in enumerate(OPENKBP)}
    masks = {i: read_nifti(path).array for i, path in files.items() if path.exists()}
    labels = pack_planes(masks, shape=scan.array.shape, structures=len(OPENKBP))
    labelled = np.flatnonzero(labels.any(axis=(1, 2)))
    step = (labelled[-1] - labelled[0]) // (SLICES - 1)
    kept = slice(labelled[0], labelled[0] + step * SLICES, step)
    affine = scan.geometry.affine_lps.copy()
    affine[:3, 3] += affine[:3, 0] * kept.start
    affine[:3, 0] *= step
    image = np.ascontiguousarray(scan.array[kept].astype(np.int16))
    source = Geometry(image.shape, affine)
    annotated = np.array([i in masks for i in range(len(OPENKBP))])
    return Patient(folder.name, image, np.ascontiguousarray(labels[kept]), annotated, affine, source)


@pytest.fixture(scope="session")
def small_store(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A real store of the twelve sample patients, eight slices of 128 x 128 each. Copy its file to change it."""
    path = tmp_path_factory.mktemp("small") / "small.h5"
    folders = sorted(folder for folder in sample_root.iterdir() if folder.is_dir())
    write_store(path, (thin_patient(folder) for folder in folders), OPENKBP)
    return Store(path)
