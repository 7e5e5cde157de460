from pathlib import Path

import lightning
import pytest

import nasoseg
from nasoseg.data.transforms import Augmentation


@pytest.fixture
def data(small_store):
    return nasoseg.SliceDataModule(small_store.path, folds=4, batch_size=8, augmentation=Augmentation(crop=64))


@pytest.fixture
def make_trainer(tmp_path: Path):
    def make(**arguments):
        defaults = {
            "default_root_dir": tmp_path,
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        return lightning.Trainer(**(defaults | arguments))

    return make
