import importlib.util
import json

import pytest
from private_wandb import isolate_wandb
from wandb_records import read_records, rows, segments

from nasoseg.errors import NasosegError
from nasoseg.tasks.wandb_run import WandbRun


@pytest.fixture(autouse=True)
def _private_wandb(tmp_path, monkeypatch):
    isolate_wandb(monkeypatch, tmp_path)
    yield
    import wandb

    wandb.teardown()


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name))
    with pytest.raises(NasosegError, match=r"pip install 'nasoseg\[wandb\]'"):
        WandbRun()


@pytest.mark.parametrize("argument", [{"panel_every": 0}, {"panel_patients": -1}])
def test_numbers_out_of_range_are_refused(argument):
    with pytest.raises(NasosegError, match=rf"trainer\.logger\.{next(iter(argument))}: found"):
        WandbRun(**argument)


def test_offline_without_a_key_and_wandb_mode_goes_before_all(tmp_path, monkeypatch):
    assert WandbRun()._mode() == "offline"
    assert WandbRun(offline=False)._mode() == "online"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0123456789\n")
    assert WandbRun()._mode() is None
    assert WandbRun(offline=True)._mode() == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert WandbRun()._mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert WandbRun()._mode() is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert WandbRun(offline=True)._mode() == "disabled"


def test_a_server_out_of_reach_makes_the_run_an_offline_one(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the port where nothing listens
    logger = WandbRun(save_dir=tmp_path / "run", settings={"init_timeout": 2})
    with pytest.warns(UserWarning, match="W&B cannot be reached"):
        logger.log_metrics({"train/loss": 0.5, "epoch": 0}, step=3)
    assert logger.experiment.offline
    logger.finish()
    (path,) = segments(tmp_path / "run")
    (row,) = rows(read_records(path))
    assert (row["train/loss"], row["_step"]) == (0.5, 3)


def test_a_wandb_that_fails_is_left_alone_after_one_warning(tmp_path):
    logger = WandbRun(save_dir=tmp_path / "run")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.experiment.finish()  # as if it had ended by itself: logging to it raises
    with pytest.warns(UserWarning, match="training goes on without it"):
        logger.log_metrics({"a": 2.0}, step=1)
    logger.log_metrics({"a": 3.0}, step=2)
    logger.finish()


def test_what_follows_a_training_is_logged_after_it(tmp_path):
    (tmp_path / "wandb_run.json").write_text(json.dumps({"id": "kept1234", "step": 40}))
    logger = WandbRun()
    logger.settle(tmp_path, defaults={"group": "unet, clean"}, training=False)
    logger.log_metrics({"test/dsc": 0.5}, step=0)
    logger.finish()
    (path,) = segments(tmp_path)
    records = read_records(path)
    assert path.name == "run-kept1234.wandb"
    assert [row["_step"] for row in rows(records)] == [41]
    assert json.loads((tmp_path / "wandb_run.json").read_text()) == {"id": "kept1234", "step": 41}


def test_a_damaged_note_of_the_id_begins_a_new_run(tmp_path):
    (tmp_path / "wandb_run.json").write_text("{")
    logger = WandbRun(save_dir=tmp_path)
    logger.log_metrics({"a": 1.0}, step=0)
    logger.finish()
    assert json.loads((tmp_path / "wandb_run.json").read_text())["id"] == logger.version
