"""A training that logs to W&B, offline, read back with W&B's own reader."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from private_wandb import isolate_wandb
from wandb_records import artifacts, one, own_config, read_records, rows, segments

import nasoseg
from nasoseg.heads import expand_planes, one_label

PATIENTS = 2


@pytest.fixture(scope="module", autouse=True)
def _private_wandb(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate_wandb(patch, tmp_path_factory.mktemp("home"))
        yield
    import wandb

    wandb.teardown()


def write_config(path: Path, store: Path, **trainer) -> Path:
    config = {
        "model": {"class_path": "nasoseg.TwoStageUNet", "init_args": {"width": 4}},
        "data": {
            "store": str(store),
            "folds": 6,  # two validation patients, two test patients
            "batch_size": 16,
            "augmentation": {"class_path": "nasoseg.Augmentation", "init_args": {"crop": 48}},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "limit_train_batches": 2, **trainer},
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def run(small_store, tmp_path_factory, nasoseg_command) -> Path:
    """A run folder: two epochs with the shipped config as the second one, then the test."""
    folder = tmp_path_factory.mktemp("wandb")
    config = write_config(folder / "tiny.yaml", small_store.path)
    arguments = ["--trainer.logger.init_args.panel_patients", PATIENTS, "--method", "small", "--data.fold", 1]
    ended = nasoseg_command("fit", "--config", config, "--config", "wandb", *arguments, "--run", folder / "run")
    assert ended.code == 0, ended.err
    return folder / "run"


@pytest.fixture(scope="module")
def records(run):
    (path,) = segments(run)
    return read_records(path)


def test_a_run_is_named_for_method_protocol_and_fold(records, run):
    found = one(records, "run")
    assert found["display_name"] == "small fold1"
    assert found["run_group"] == "small, clean"
    assert found["job_type"] == "fold1"
    assert found["tags"] == ["clean"]
    assert found["project"] == "nasoseg"
    assert json.loads((run / "wandb_run.json").read_text())["id"] == found["run_id"]
    assert records[-1] == ("exit", records[-1][1])
    assert records[-1][1].get("exit_code", 0) == 0


def test_the_config_says_what_ran_and_nothing_of_the_machine(records, run, small_store):
    config = own_config(records)
    split = nasoseg.Split.load(run / "split.json", small_store)
    assert config["store"]["sha256"] == small_store.content_sha256
    assert config["split"]["sha256"] == split.sha256
    assert (config["protocol"], config["fold"], config["method"]) == ("clean", 1, "small")
    assert config["data"]["store"] == small_store.path.name
    assert config["model"]["init_args"]["width"] == 4
    assert set(config["git"]) == {"nasoseg", "project"}
    uploaded = [content for kind, content in records if kind not in ("artifact", "files")]
    written = json.dumps(uploaded)
    for private in (str(run), str(Path.home()), sys.executable, f'"{socket.gethostname()}"'):
        assert private not in written


def test_curves_are_those_of_the_csv_log(records, run, small_store):
    with (run / "logs" / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    scalars = set(table[0]) - {"step", "epoch"}
    media = ("_", "panels/", "metrics.", "epoch")
    logged = {key for row in rows(records) for key in row if not key.startswith(media)}
    assert logged == scalars
    labels = small_store.names
    assert {"train/loss", "train/loss_stage1", "train/loss_stage2", "val/loss", "lr-Adam", "images/s"} <= logged
    assert {f"val/dsc/{labels[0]}", f"test/dsc/{labels[0]}", f"test/auc/{labels[0]}", "test/nsd"} <= logged
    for name in ("train/loss", "val/dsc", "images/s"):
        expected = [float(row[name]) for row in table if row[name]]
        assert [row[name] for row in rows(records) if name in row] == pytest.approx(expected, rel=1e-5)
    steps = [row["_step"] for row in rows(records)]
    assert steps == sorted(set(steps))
    assert [row["epoch"] for row in rows(records) if "val/dsc" in row] == [0, 1]


def test_the_same_slices_are_shown_every_epoch(records, run, small_store):
    shown = [row for row in rows(records) if any(key.startswith("panels/") for key in row)]
    assert len(shown) == 2
    captions = [{key: row[key] for key in row if key.endswith(".caption")} for row in shown]
    assert captions[0] == captions[1]
    assert len(captions[0]) == PATIENTS
    validated = nasoseg.Split.load(run / "split.json", small_store).part(1, "validation")
    files = next((run / "wandb").glob("offline-run-*")) / "files"
    for caption in captions[0].values():
        key, z = caption.split(";")[0].split(", slice ")
        assert key in validated
        drawn = expand_planes(torch_planes(small_store, key, int(z)), len(small_store.names))
        truth = one_label(drawn)[0].numpy()
        path = files / shown[0][f"panels/{key}.masks.truth.path"]
        np.testing.assert_array_equal(np.asarray(Image.open(path)), truth)
        assert {f"panels/{key}.masks.stage {stage}.path" for stage in (1, 2)} <= shown[0].keys()
        ct = np.asarray(Image.open(files / shown[0][f"panels/{key}.path"])).astype(float)
        hu = small_store.read(key, "image", int(z)).clip(-160, 240)
        np.testing.assert_allclose(ct, (hu + 160) / 400 * 255, atol=0.51)
    labels = one_of_class_labels(records)
    assert labels == {str(i + 1): name for i, name in enumerate(small_store.names)}


def torch_planes(store, key, z):
    return torch.from_numpy(store.read(key, "labels", z).astype(np.int32))[None]


def one_of_class_labels(records):
    kept = [c["update"]["_wandb"]["mask/class_labels"] for k, c in records if k == "config" and "_wandb" in c["update"]]
    return next(iter(kept[-1].values()))["value"]


def test_the_table_is_metrics_csv(records, run):
    (row,) = [row for row in rows(records) if "metrics.path" in row]
    (files,) = (run / "wandb").glob("offline-run-*/files")
    table = json.loads((files / row["metrics.path"]).read_text())
    with (run / "metrics.csv").open(newline="") as file:
        columns, *expected = csv.reader(file)
    assert table["columns"] == columns
    assert len(table["data"]) == len(expected)
    value = columns.index("value")
    for found, wanted in zip(table["data"], expected, strict=True):
        assert found[:value] == [int(c) if n == "fold" else c for n, c in zip(columns, wanted[:value], strict=False)]
        number = float("nan") if found[value] == "NaN" else found[value]
        assert number == pytest.approx(float(wanted[value]), nan_ok=True)


def test_the_model_artifact_is_what_load_needs(records, small_store, run, tmp_path):
    found = artifacts(records)
    assert json.loads(found["dataset"]["metadata"])["sha256"] == small_store.content_sha256
    for content in found["model"]["manifest"]["contents"]:
        target = tmp_path / content["path"]
        target.parent.mkdir(exist_ok=True)
        shutil.copy(content["local_path"], target)
    assert str(small_store.path.parent) not in (tmp_path / "config.yaml").read_text()
    model, expected = nasoseg.load(tmp_path), nasoseg.load(run)
    assert model.training_data == expected.training_data
    for name, tensor in expected.state_dict().items():
        assert (tensor == model.state_dict()[name]).all()


def test_a_test_of_its_own_goes_on_in_the_same_run(records, run, nasoseg_command):
    ended = nasoseg_command("test", "--config", run / "config.yaml")
    assert ended.code == 0, ended.err
    again = read_records(segments(run)[-1])
    assert one(again, "run")["run_id"] == one(records, "run")["run_id"]
    assert min(row["_step"] for row in rows(again)) > max(row["_step"] for row in rows(records))
    assert any("test/dsc" in row for row in rows(again))
    assert own_config(again)["store"] == own_config(records)["store"]


@pytest.mark.slow
def test_interrupted_and_resumed_is_one_run_and_no_process_stays(small_store, tmp_path, nasoseg_command):
    """With Lightning's own class name, in a list with another logger."""
    board = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(tmp_path / "board")}}
    loggers = [{"class_path": "WandbLogger", "init_args": {"project": "mine"}}, board]
    config = write_config(tmp_path / "tiny.yaml", small_store.path, max_epochs=500, logger=loggers)
    run = tmp_path / "run"
    fit = ["fit", "--config", str(config), "--run", str(run), "--test_at_end", "false"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("WANDB_SERVICE", None)  # the service process of this one, for its children to share
    process = subprocess.Popen(
        [sys.executable, "-m", "nasoseg", *fit],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    while not (run / "checkpoints" / "last.ckpt").is_file() and process.poll() is None:
        time.sleep(0.05)
    assert services_of(process.pid) or not Path("/proc").is_dir()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) == 130
    assert not services_of(process.pid)
    begun = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] + 1
    ended = nasoseg_command(*fit, "--trainer.max_epochs", begun + 1, "--ckpt_path", "last")
    assert ended.code == 0, ended.err
    first, second = map(read_records, segments(run))
    assert one(first, "exit")["exit_code"] == 1
    assert one(first, "run")["run_id"] == one(second, "run")["run_id"]
    assert one(first, "run")["project"] == "mine"
    validated = [row["epoch"] for row in (*rows(first), *rows(second)) if "val/dsc" in row]
    assert validated[-1] == begun
    assert set(validated) == set(range(begun + 1))
    assert tensorboard_scalars(tmp_path / "board") == csv_scalars(run / "logs_2" / "metrics.csv") | {"epoch"}


def services_of(pid: int) -> list[str]:
    """List W&B's service processes of a process; empty where there is no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(path.read_text().split("\0"))
    return [" ".join(line) for line in found if "wandb-core" in line[0] and str(pid) in line]


def csv_scalars(path: Path) -> set[str]:
    with path.open(newline="") as file:
        return set(next(csv.reader(file))) - {"step"}


def tensorboard_scalars(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: set[str] = set()
    for path in folder.rglob("events.*"):
        accumulator = EventAccumulator(str(path))
        accumulator.Reload()
        found |= set(accumulator.Tags()["scalars"])
    return found
