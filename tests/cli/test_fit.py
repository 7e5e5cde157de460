"""fit, test and predict as a user runs them, on real slices; and what goes wrong."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import nasoseg
from nasoseg.errors import NasosegError
from nasoseg.heads import decide
from nasoseg.volumes.nifti import read_label_map

REFINER = """
import torch

class Refiner(torch.nn.Module):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, classes, 3, padding=1)

    def forward(self, x):
        return self.conv(x)
"""


RUN_FILES = {
    "config.yaml",
    "split.json",
    "training_data.json",
    "run.json",
    "checkpoints",
    "logs",
    "metrics.csv",
    "model_card.md",
}


def test_fit_leaves_a_whole_run_folder(trained, small_store):
    run, printed = trained
    assert {p.name for p in run.iterdir()} == RUN_FILES
    names = {p.name for p in (run / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "best.safetensors"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["labels"] == small_store.names
    split = nasoseg.Split.load(run / "split.json", small_store)
    assert split.protocol == "clean"
    assert re.search(r"^epoch 1/1  loss 0\.\d+  val dsc 0\.\d+  [\d.]+ images/s  \d+ s$", printed, re.MULTILINE)
    assert f"run folder: {run}" in printed
    for name in small_store.names:
        assert f"│ {name} " in printed


def test_metrics_csv_is_tidy(trained, small_store):
    run, _ = trained
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["protocol"] for row in rows} == {"clean"}
    assert {row["fold"] for row in rows} == {"0"}
    assert {row["averaging"] for row in rows} >= {"volume", "slice", "pooled"}
    split = nasoseg.Split.load(run / "split.json", small_store)
    volume = [row for row in rows if row["averaging"] == "volume" and row["metric"] == "dsc"]
    assert {row["patient"] for row in volume} == set(split.part(0, "test"))
    expected = sum(small_store.is_annotated(key).sum() for key in split.part(0, "test"))
    assert len(volume) == expected


def test_test_gives_the_same_numbers_again(trained, nasoseg_command, tmp_path):
    run, _ = trained
    before = (run / "metrics.csv").read_text()
    result = nasoseg_command("test", "--config", run / "config.yaml")
    assert result.code == 0, result.err
    assert (run / "metrics.csv").read_text() == before


def test_predict_writes_the_models_masks_on_the_original_grid(trained, nasoseg_command, small_store):
    run, _ = trained
    result = nasoseg_command("predict", "--config", run / "config.yaml")
    assert result.code == 0, result.err
    model = nasoseg.load(run)
    data = nasoseg.SliceDataModule(small_store.path, folds=4, batch_size=8)
    data.setup()
    keys = list(data.slices("test"))
    assert sorted(p.name for p in (run / "predictions").iterdir()) == sorted(keys)
    for batch in data.test_dataloader():
        if batch["patient"][0] != keys[0]:
            continue
        masks = decide(model(batch["image"]).detach(), "multilabel")
        for i, name in enumerate(small_store.names):
            written = read_label_map(run / "predictions" / keys[0] / f"{name}.nii.gz")
            assert written.geometry.matches(small_store.source(keys[0]), tolerance_mm=1e-3)
            np.testing.assert_array_equal(written.axial().array, masks[:, i].numpy())
    again = nasoseg_command("predict", "--config", run / "config.yaml")
    assert again.code == 1
    assert "--force" in again.err


def test_loading_needs_the_run_folder_alone(trained, monkeypatch):
    run, _ = trained
    from_folder, from_checkpoint = nasoseg.load(run), nasoseg.load(run / "checkpoints" / "best.ckpt")
    assert from_folder.labels == from_checkpoint.labels
    for name, tensor in from_folder.state_dict().items():
        assert torch.equal(tensor, from_checkpoint.state_dict()[name])
    assert not from_folder.training
    assert from_folder.training_data == from_checkpoint.training_data
    assert from_folder.training_data.patients == 8
    assert from_folder.training_data.windows_hu == ((-160.0, 240.0),)
    monkeypatch.chdir(run / "checkpoints")
    for name in ("best.ckpt", "best.safetensors"):
        assert nasoseg.load(name).training_data == from_folder.training_data


def test_a_run_folder_of_another_version_is_refused(trained, nasoseg_command, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    (run / "run.json").write_text((run / "run.json").read_text().replace('"version": 1', '"version": 2'))
    for path in (run, run / "checkpoints" / "last.ckpt"):
        with pytest.raises(NasosegError, match=r"run\.json: found version 2 of a run folder, expected 1"):
            nasoseg.load(path)
    ended = nasoseg_command("test", "--config", run / "config.yaml", "--run", run)
    assert (ended.code, "found version 2 of a run folder" in ended.err) == (1, True)
    (run / "run.json").write_text("{")
    nasoseg.load(run)


def test_a_run_without_a_description_still_says_how_images_are_made(trained, tmp_path):
    run, _ = trained
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "checkpoints/best.safetensors"):
        shutil.copy(run / name, tmp_path / name)
    found = nasoseg.load(tmp_path).training_data
    assert (found.windows_hu, found.context, found.patients, found.pixel_mm) == (((-160.0, 240.0),), 0, 0, None)
    (tmp_path / "training_data.json").write_text("{}")
    with pytest.raises(nasoseg.NasosegError, match=r"training_data\.json: cannot be read"):
        nasoseg.load(tmp_path)


def test_epochs_without_validation_neither_pick_a_checkpoint_nor_show_its_number(tiny, nasoseg_command, tmp_path):
    ended = nasoseg_command(
        "fit",
        "--config",
        tiny,
        "--trainer.max_epochs",
        3,
        "--trainer.check_val_every_n_epoch",
        2,
        "--test_at_end",
        False,
    )
    assert ended.code == 0, ended.err
    first, second, third = (line for line in ended.out.splitlines() if line.startswith("epoch"))
    assert "val dsc" in second
    assert "val dsc" not in first + third
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 1
    never = nasoseg_command(
        "fit", "--config", tiny, "--trainer.check_val_every_n_epoch", 2, "--run", tmp_path / "never"
    )
    assert never.code == 1
    assert "found 2 with max_epochs 1: no epoch would be validated" in never.err
    assert not (tmp_path / "never").exists()
    unseen = nasoseg_command("fit", "--config", tiny, "--trainer.limit_val_batches", 0, "--run", tmp_path / "never")
    assert unseen.code == 1
    assert "limit_val_batches: found 0" in unseen.err


def test_a_run_is_not_overwritten_unasked(trained, nasoseg_command):
    run, _ = trained
    result = nasoseg_command("fit", "--config", run / "config.yaml")
    assert result.code == 1
    assert "--ckpt_path last" in result.err
    assert "--force" in result.err
    assert (run / "metrics.csv").is_file()


def last_weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_killed_and_resumed_gives_the_same_weights_bit_for_bit(tiny, nasoseg_command, tmp_path, monkeypatch):
    """Adam, batch statistics, dropout and augmentation: all go on as if nothing had happened."""
    config = yaml.safe_load(tiny.read_text())
    config["trainer"]["max_epochs"] = 3
    config["test_at_end"] = False
    (tmp_path / "with_dropout.py").write_text(DROPOUT)
    network = {"class_path": "with_dropout.WithDropout"}
    config["model"] = {"class_path": "nasoseg.SingleNetwork", "init_args": {"network": network}}
    tiny.write_text(yaml.safe_dump(config))
    monkeypatch.syspath_prepend(tmp_path)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result = nasoseg_command("fit", "--config", tiny, "--run", whole)
    assert result.code == 0, result.err

    command = [sys.executable, "-m", "nasoseg", "fit", "--config", str(tiny), "--run", str(cut)]
    # As many threads as here: sums in another order differ in their last bit.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    last = cut / "checkpoints" / "last.ckpt"
    while not last.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert torch.load(last, weights_only=True)["epoch"] < 2
    resumed = nasoseg_command("fit", "--config", tiny, "--run", cut, "--ckpt_path", "last")
    assert resumed.code == 0, resumed.err

    expected, found = last_weights(whole), last_weights(cut)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


PLATEAU = {"monitor": "val/loss", "patience": 0, "threshold": 1.0}  # no epoch is better: all lower the rate


@pytest.mark.parametrize(
    "more",
    [
        ["--data.workers", 1],
        [
            "--model.init_args.lr_scheduler",
            {"class_path": "lightning.pytorch.cli.ReduceLROnPlateau", "init_args": PLATEAU},
        ],
    ],
    ids=["workers", "plateau"],
)
def test_a_longer_run_is_a_run_that_goes_on(tiny, nasoseg_command, tmp_path, more):
    """Workers read the right epoch first; a schedule that follows the validation misses none."""
    fit = ["fit", "--config", tiny, *more, "--test_at_end", "false", "--trainer.limit_train_batches", 2, "--run"]
    for run, *how in ("whole", 2), ("cut", 1), ("cut", 2, "--ckpt_path", "last"):
        ended = nasoseg_command(*fit, tmp_path / run, "--trainer.max_epochs", *how)
        assert ended.code == 0, ended.err
    whole, cut = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("whole", "cut")
    )
    assert all(torch.equal(tensor, cut["state_dict"][name]) for name, tensor in whole["state_dict"].items())
    assert whole["lr_schedulers"] == cut["lr_schedulers"]
    assert [group["lr"] for group in whole["optimizer_states"][0]["param_groups"]] == [
        group["lr"] for group in cut["optimizer_states"][0]["param_groups"]
    ]


def test_a_job_that_slurm_starts_again_goes_on(tiny, nasoseg_command, tmp_path, monkeypatch):
    """From what was saved last, at an epoch's end or when SLURM announced the job's; and tests its best checkpoint."""
    checkpoints = tmp_path / "run" / "checkpoints"
    announced = tmp_path / "run" / "hpc_ckpt_1.ckpt"
    fit = ["fit", "--config", tiny, "--test_at_end", "false", "--trainer.max_epochs"]
    assert nasoseg_command(*fit, 1).code == 0
    assert "holds a run already" in nasoseg_command(*fit, 1).err
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    resumed = nasoseg_command(*fit, 2)
    assert resumed.code == 0, resumed.err
    assert "epoch 1/2" not in resumed.out
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 1
    (checkpoints / "last.ckpt").rename(announced)
    resumed = nasoseg_command(*fit, 3)
    assert resumed.code == 0, resumed.err
    assert "epoch 2/3" not in resumed.out
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 2
    assert not announced.exists()
    shutil.rmtree(checkpoints)  # it was ended before its first checkpoint
    begun = nasoseg_command(*fit, 1)
    assert begun.code == 0, begun.err


DROPOUT = """
import torch
from nasoseg.models import UNet

class WithDropout(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.unet = UNet(8, 10, width=4)
        self.first = torch.nn.Conv2d(1, 8, 1)

    def forward(self, x):
        return self.unet(torch.nn.functional.dropout(self.first(x), 0.2, self.training))
"""


def test_smp_stage1_and_own_stage2_from_a_config(tiny, nasoseg_command, tmp_path, monkeypatch):
    (tmp_path / "refiner.py").write_text(REFINER)
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load(tiny.read_text())
    config["model"]["init_args"] |= {
        "coupling": "gate",
        "stage1": {
            "class_path": "segmentation_models_pytorch.UnetPlusPlus",
            "init_args": {
                "encoder_name": "tu-mobilenetv3_small_050",
                "encoder_weights": None,
                "in_channels": 4,
                "classes": 10,
            },
        },
        "stage2": {"class_path": "refiner.Refiner", "init_args": {"channels": 14, "classes": 10}},
    }
    config["data"]["augmentation"]["init_args"]["crop"] = 64
    tiny.write_text(yaml.safe_dump(config))
    result = nasoseg_command("fit", "--config", tiny)
    assert result.code == 0, result.err
    with pytest.raises(NasosegError, match=r"names the class 'refiner.Refiner'.*trust=True"):
        nasoseg.load(tmp_path / "run")
    assert type(nasoseg.load(tmp_path / "run", trust=True).network.stage2).__name__ == "Refiner"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.batchsize", "4"], "did you mean 'data.batch_size'"),
        (["--model.init_args.widht", "4"], "'widht': did you mean 'width'"),
        (["--data.labels", "[Larinx]"], "did you mean 'Larynx'"),
        (["--model.class_path", "nasoseg.TwoStageUnet"], "TwoStageUNet"),
        (["--data.folds", "99"], "12 patients"),
        (["--data.store", "missing.h5"], "no such store"),
        (["--data.context", "-1"], "data.context"),
        (["--ckpt_path", "last"], "no checkpoint"),
        (["--data.fold", "4"], "expected 0 to 3"),
        (
            ["--model.init_args.head", "multiclass", "--model.init_args.loss", "nasoseg.DiceFocalLoss"],
            "loss: its head is 'multilabel', expected 'multiclass'",
        ),
    ],
)
def test_wrong_arguments_end_in_one_screen(tiny, nasoseg_command, monkeypatch, arguments, words):
    monkeypatch.chdir(tiny.parent)
    ended = nasoseg_command("fit", "--config", tiny, *arguments)
    assert ended.code == 1
    printed = ended.err
    assert words in printed
    assert "Traceback" not in printed
    assert len(printed) < 2000
    assert not (tiny.parent / "run").exists()


def test_a_misspelt_key_in_a_file_gets_the_nearest(tiny, nasoseg_command):
    tiny.write_text(tiny.read_text().replace("batch_size", "batchsize"))
    assert "did you mean" in nasoseg_command("fit", "--config", tiny).err


def test_structures_that_cannot_be_validated_are_said_in_a_line(tiny, nasoseg_command, small_store):
    parts = ((seed, nasoseg.SliceDataModule(small_store.path, folds=4, seed=seed)) for seed in range(50))
    seed, unseen = next((seed, unseen) for seed, data in parts if (unseen := data.unannotated("validation")))
    command = ["fit", "--config", tiny, "--data.seed", seed, "--trainer.limit_train_batches", 1]
    ended = nasoseg_command(*command, "--test_at_end", "false")
    assert ended.code == 0, ended.err
    assert f"\nno validation patient has {', '.join(unseen)} annotated: val dsc is of the others\n" in ended.out
