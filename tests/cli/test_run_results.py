"""What test and fit leave in a run folder is of the best model, whatever else is measured or trained there."""

import shutil

import pytest
import torch
import yaml

import nasoseg
from nasoseg.cli.run_folder import claim_run_folder

STOPPER = """
import lightning

class Stopper(lightning.Callback):
    def on_train_epoch_start(self, trainer, module):
        raise KeyboardInterrupt
"""


@pytest.fixture
def run(trained, tmp_path):
    """A run folder of its own, whose last weights are all 0."""
    run = shutil.copytree(trained[0], tmp_path / "run", ignore=shutil.ignore_patterns("predictions"))
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    for tensor in checkpoint["state_dict"].values():
        tensor.zero_()
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    return run


def best_files(run):
    return {
        name: (run / name).read_bytes() for name in ("checkpoints/best.safetensors", "metrics.csv", "model_card.md")
    }


def test_another_checkpoint_is_tested_beside_the_best(run, nasoseg_command):
    before = best_files(run)
    command = ["test", "--config", run / "config.yaml", "--run", run, "--ckpt_path"]
    ended = nasoseg_command(*command, "last")
    assert ended.code == 0, ended.err
    assert best_files(run) == before
    assert (run / "metrics-last.csv").read_bytes() != before["metrics.csv"]
    assert f"metrics: {run / 'metrics-last.csv'}" in ended.out
    assert "TwoStageUNet, last.ckpt, test patients" in ended.out
    (run / "model_card.md").write_text("old")
    ended = nasoseg_command(*command, run / "checkpoints" / "best.ckpt")
    assert ended.code == 0, ended.err
    assert best_files(run) == before
    shutil.move(run / "checkpoints", run.with_name("scratch"))
    (run / "checkpoints").symlink_to(run.with_name("scratch"))
    claim_run_folder(run, force=True)
    assert not list(run.iterdir())
    assert (run.with_name("scratch") / "best.ckpt").is_file()  # of a link to another disk only the link goes


def test_masks_of_another_checkpoint_lie_beside_the_best_ones(run, nasoseg_command):
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for tensor in checkpoint["state_dict"].values():
        tensor.fill_(1)  # every voxel is every structure
    torch.save(checkpoint, path)
    command = ["predict", "--config", run / "config.yaml", "--run", run]
    for more, name in ([], "predictions"), (["--ckpt_path", "last"], "predictions-last"):
        ended = nasoseg_command(*command, *more)
        assert ended.code == 0, ended.err
        assert f"predictions: {run / name}\n" in ended.out
    best, last = (sorted((run / name).rglob("*.nii.gz")) for name in ("predictions", "predictions-last"))
    assert [path.name for path in best] == [path.name for path in last]
    assert [path.read_bytes() for path in best] != [path.read_bytes() for path in last]
    assert nasoseg_command(*command, "--ckpt_path", "last").code == 1  # never over what is there
    claim_run_folder(run, force=True)
    assert not list(run.iterdir())


def test_a_folder_without_a_best_model_gets_the_metrics_alone(run, nasoseg_command, tmp_path):
    command = ["test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "best.ckpt"]
    ended = nasoseg_command(*command, "--run", tmp_path / "elsewhere")
    assert ended.code == 0, ended.err
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["metrics.csv"]


def test_a_training_that_goes_on_keeps_no_weights_of_before(trained, nasoseg_command, tmp_path, monkeypatch):
    """A killed one would be loaded from them, however much better its best checkpoint has become."""
    run = shutil.copytree(trained[0], tmp_path / "run")
    (tmp_path / "stopper.py").write_text(STOPPER)
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"] |= {"max_epochs": 2, "callbacks": [{"class_path": "stopper.Stopper"}]}
    config["run"] = str(run)
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(config))
    assert nasoseg_command("fit", "--config", tmp_path / "more.yaml", "--ckpt_path", "last").code == 130
    assert not (run / "checkpoints" / "best.safetensors").exists()
    assert not (run / "model_card.md").exists()
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, tensor in nasoseg.load(run).state_dict().items():
        assert torch.equal(tensor, best[name])


def test_how_a_training_was_begun_is_not_of_the_run(trained, nasoseg_command, tmp_path):
    """`test --config RUN/config.yaml` measured the last model of a resumed run, `fit` of a forced one emptied it."""
    run = shutil.copytree(trained[0], tmp_path / "run")
    command = ["fit", "--config", run / "config.yaml", "--run", run, "--test_at_end", "false"]
    for how in (["--ckpt_path", "last", "--trainer.max_epochs", 2], ["--force", "true"]):
        ended = nasoseg_command(*command, *how)
        assert ended.code == 0, ended.err
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert (config["force"], config["ckpt_path"]) == (False, None)
