"""A run folder goes on with the patients, structures and network that it was begun with, or is left as it is."""

import shutil
import subprocess
import sys

import pytest
import torch
import yaml

import nasoseg
from nasoseg.data.splits import make_split
from nasoseg.data.store import write_store

SEED_5 = ["--data.seed", 5]


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "run")


@pytest.fixture
def start(run, nasoseg_command):
    """Run a command on the run folder; return its error, once nothing of the folder has changed."""

    def started(command, *arguments):
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        ended = nasoseg_command(command, "--config", run / "config.yaml", "--run", run, *arguments)
        assert ended.code == 1
        assert "Traceback" not in ended.err
        assert len(ended.err) < 1500
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
        nasoseg.load(run)
        return ended.err

    return started


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_store_that_was_prepared_anew_is_not_taken_for_the_runs(start, small_store, tmp_path, command):
    """Its patients would be dealt anew, and those that were trained on could be tested."""
    write_store(tmp_path / "new.h5", map(small_store.patient, small_store.keys[:11]), small_store.structures)
    said = start(command, "--data.store", tmp_path / "new.h5")
    assert "new.h5 (SHA-256 " in said
    assert f"is not the store that {tmp_path / 'run'} was trained on ({small_store.content_sha256})" in said


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (SEED_5, "data.split: folds 4, protocol clean, seed 5 deals the slices otherwise than "),
        (["--data.protocol", "paper"], "data.split: folds 4, protocol paper, seed 0 deals"),
        (["--data.fold", 1], "data.fold: found 1, expected 0 as "),
    ],
)
def test_other_patients_are_refused(start, arguments, words, resumed):
    command = ["fit", "--ckpt_path", "last"] if resumed else ["test"]
    assert words in start(*command, *arguments)


def test_another_split_file_is_named_with_the_runs_own_as_the_remedy(start, small_store, nasoseg_command, tmp_path):
    make_split(small_store, folds=4, seed=5).save(tmp_path / "other.json")
    said = start("test", "--data.split", tmp_path / "other.json")
    assert f"data.split: {tmp_path / 'other.json'} deals" in said
    remedy = ["--data.split", tmp_path / "run" / "split.json"]
    assert f"pass {remedy[0]} {remedy[1]}" in said
    command = ["test", "--config", tmp_path / "run" / "config.yaml", "--run", tmp_path / "run"]
    assert nasoseg_command(*command, *SEED_5, *remedy).code == 0


def test_structures_in_another_order_are_refused(start, small_store):
    assert "data.labels: found " in start("test", "--data.labels", list(reversed(small_store.names)))


def test_a_run_that_cannot_begin_leaves_the_old_one(start):
    assert "expected 0 to 3" in start("fit", "--force", "true", "--data.fold", 9)
    said = start("fit", "--force", "true", "--data.labels", ["LeftParotid"], *crop(mirror=True))
    assert "mirror: structure 'LeftParotid' has no partner" in said


def crop(**arguments):
    return ["--data.augmentation", {"class_path": "nasoseg.Augmentation", "init_args": {"crop": 48, **arguments}}]


@pytest.mark.parametrize("how", [["--ckpt_path", "last"], ["--force", "true"]])
def test_two_trainings_are_not_in_one_folder(run, start, nasoseg_command, how):
    hold = (
        f"from nasoseg.cli.run_folder import alone_in; from pathlib import Path\nwith alone_in(Path({str(run)!r})):\n"
    )
    hold += "    print(flush=True)\n    input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        said = start("fit", *how)
        assert f"another process is training in {run}, expected none" in said
        other.communicate("\n")
    assert not (run / ".training.lock").exists()


def test_what_is_tested_at_the_end_is_still_the_folders_own(run, nasoseg_command, monkeypatch):
    """Another training there would replace its checkpoints, and get its scores and weights."""
    locked = []
    monkeypatch.setattr("nasoseg.cli.training.write_metrics", lambda *_, **__: locked.append(lock.exists()))
    lock = run / ".training.lock"
    resumed = ["--ckpt_path", "last", "--trainer.max_epochs", 2]
    assert nasoseg_command("fit", "--config", run / "config.yaml", "--run", run, *resumed).code == 0
    assert locked == [True]
    assert not lock.exists()


def test_another_network_does_not_go_on(start):
    said = start("fit", "--ckpt_path", "last", "--model.init_args.width", 3, "--trainer.max_epochs", 2)
    assert "last.ckpt: the weights are of another network" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SGD", "another than SGD of the config (it has no dampening, momentum"),
        ("NAdam", "another than NAdam of the config (it has no momentum_decay)"),
    ],
)
def test_another_optimiser_does_not_go_on(start, name, words):
    optimizer = {"class_path": f"torch.optim.{name}", "init_args": {"lr": 0.01}}
    said = start("fit", "--ckpt_path", "last", "--model.init_args.optimizer", yaml.safe_dump(optimizer))
    assert words in said


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"class_path": "torch.optim.lr_scheduler.CosineAnnealingLR", "init_args": {"T_max": 9}}, "T_max, base_lrs"),
        (None, "expected none"),
    ],
)
def test_another_schedule_does_not_go_on(start, schedule, words):
    """PyTorch would take what it knows of the other's state, and say nothing."""
    said = start("fit", "--ckpt_path", "last", "--model.init_args.lr_scheduler", yaml.safe_dump(schedule))
    assert "last.ckpt: its learning-rate schedule is not that of" in said
    assert "gamma" in said
    assert words in said


def test_a_training_without_a_schedule_does_not_go_on_with_one(start, run):
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["lr_schedulers"] = []
    torch.save(checkpoint, path)
    said = start("fit", "--ckpt_path", "last")
    assert "not that of StepLR: found none, expected base_lrs, gamma, last_epoch, step_size" in said


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("optimizer.init_args.lr", 0.01, "base_lrs of StepLR: the config has [0.01], the checkpoint [0.001]"),
        ("optimizer.init_args.weight_decay", 0.1, "weight_decay of Adam: the config has 0.1, the checkpoint 0"),
        ("lr_scheduler.init_args.gamma", 0.5, "gamma of StepLR: the config has 0.5, the checkpoint 0.9"),
    ],
)
def test_another_rate_does_not_go_on(start, setting, value, words):
    """The checkpoint's would be kept, and the run's config would say otherwise."""
    assert words in start("fit", "--ckpt_path", "last", f"--model.init_args.{setting}", value)


@pytest.mark.parametrize("rate", [0.001, 0.01])
def test_a_rate_without_a_schedule_is_compared_too(start, run, nasoseg_command, rate):
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["lr_schedulers"] = []
    torch.save(checkpoint, path)
    more = ["--model.init_args.lr_scheduler", "null", "--model.init_args.optimizer.init_args.lr", rate]
    if rate == 0.01:
        assert "lr of Adam: the config has 0.01, the checkpoint 0.001" in start("fit", "--ckpt_path", "last", *more)
        return
    command = ["fit", "--config", run / "config.yaml", "--run", run, "--ckpt_path", "last", "--test_at_end", "false"]
    ended = nasoseg_command(*command, *more, "--trainer.max_epochs", 2)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    "schedule",
    [
        {"class_path": "torch.optim.lr_scheduler.OneCycleLR", "init_args": {"max_lr": 0.01, "total_steps": 999}},
        {"class_path": "torch.optim.lr_scheduler.MultiStepLR", "init_args": {"milestones": [1, 2]}},
        {"class_path": "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "init_args": {"T_0": 1, "T_mult": 2}},
        {"class_path": "lightning.pytorch.cli.ReduceLROnPlateau", "init_args": {"monitor": "val/loss", "patience": 0}},
    ],
)
def test_what_a_schedule_changes_is_no_other_setting(tiny, nasoseg_command, tmp_path, schedule):
    command = ["fit", "--config", tiny, "--model.init_args.lr_scheduler", yaml.safe_dump(schedule)]
    interval = "step" if "OneCycleLR" in schedule["class_path"] else "epoch"
    command += ["--model.init_args.lr_interval", interval, "--test_at_end", "false", "--trainer.max_epochs"]
    for more in [2], [4, "--ckpt_path", "last"]:
        ended = nasoseg_command(*command, *more)
        assert ended.code == 0, ended.err
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 3


def test_training_does_not_go_on_from_weights_alone(start, run):
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["optimizer_states"]
    torch.save(checkpoint, path)
    assert "last.ckpt: holds no state of an optimiser" in start("fit", "--ckpt_path", "last")


def test_an_optimiser_with_other_groups_does_not_go_on(start, run):
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["optimizer_states"][0]["param_groups"][0]["params"].pop()
    torch.save(checkpoint, path)
    assert "its optimiser is another than Adam" in start("fit", "--ckpt_path", "last")


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_the_config_in_a_run_folder_means_that_folder(run, nasoseg_command, tmp_path, how):
    """Wherever it lies now, and where its split file, of which it holds a copy, is gone."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["run"] = str(run)
    config["data"]["split"] = str(tmp_path / "gone.json")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    how(run, tmp_path / "elsewhere")
    run = tmp_path / "elsewhere"
    for name in ("metrics.csv", "model_card.md"):
        (run / name).unlink()
    ended = nasoseg_command("test", "--config", run / "config.yaml")
    assert ended.code == 0, ended.err
    assert f"run folder: {run}" in ended.out
    assert (run / "metrics.csv").is_file()
    more = ["--ckpt_path", "last", "--trainer.max_epochs", 2, "--test_at_end", "false"]
    ended = nasoseg_command("fit", "--config", run / "config.yaml", *more)
    assert ended.code == 0, ended.err
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert (resolved["run"], resolved["data"]["split"]) == (str(run), str(run / "split.json"))


def test_a_new_run_takes_no_other_split_than_the_one_asked_for(run, nasoseg_command, tmp_path):
    command = ["fit", "--config", run / "config.yaml", "--data.split", tmp_path / "gone.json", "--force", "true"]
    ended = nasoseg_command(*command)
    assert ended.code == 1
    assert "gone.json: no such split file" in ended.err
    assert (run / "split.json").is_file()


def test_another_folder_may_be_named_beside_the_config_of_a_run(run, nasoseg_command, tmp_path):
    command = ["test", "--config", run / "config.yaml"]
    for named in (["--run", tmp_path / "none"], [f"--run={tmp_path / 'none'}"]):
        ended = nasoseg_command(*command, *named)
        assert ended.code == 1
        assert f"no checkpoint {tmp_path / 'none' / 'checkpoints' / 'best.ckpt'}" in ended.err
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"run": str(tmp_path / "other")}))
    ended = nasoseg_command(*command, "--config", tmp_path / "more.yaml")
    assert f"no checkpoint {tmp_path / 'other'}" in ended.err
