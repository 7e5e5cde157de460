"""A small study with masks that overlap, and a prediction whose names would act on a page, were they not escaped."""

from collections.abc import Iterator

import numpy as np
import pytest
from generated_studies import SHAPE, ct, mask, save

from nasoseg.errors import NasosegError
from nasoseg.report.view import ShownStudy, StudyServer, read_shown, site_files
from nasoseg.report.view.niivue import niivue_script

EVIL_SET = 'two "stage" <b>&amp;</b>'
EVIL_STRUCTURE = "<script>document.title='let in'<!-- 'Larynx' & \"more\""


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> ShownStudy:
    """24 x 20 x 8 voxels: every redraw in software takes its time."""
    folder, predicted = tmp_path_factory.mktemp("shown"), tmp_path_factory.mktemp("predicted")
    save(folder / "ct.nii.gz", ct())
    for structure in ("Brainstem", "Larynx", "Parotid_L", "Parotid_R"):
        save(folder / "segmentations" / f"{structure}.nii.gz", mask(structure))
    save(predicted / "LeftParotid.nii.gz", np.roll(mask("Parotid_L"), 1, axis=1))
    save(predicted / "PTV70.nii.gz", np.ones(SHAPE, np.uint8))
    save(predicted / f"{EVIL_STRUCTURE}.nii.gz", np.zeros(SHAPE, np.uint8))
    return read_shown(folder, predictions={EVIL_SET: predicted})


@pytest.fixture(scope="session")
def niivue() -> bytes:
    try:
        return niivue_script()
    except NasosegError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def server(shown: ShownStudy, niivue: bytes) -> Iterator[StudyServer]:
    from threading import Thread

    with StudyServer(site_files(shown)) as started:
        thread = Thread(target=started.serve_forever, daemon=True)
        thread.start()
        yield started
        started.shutdown()
        thread.join()
