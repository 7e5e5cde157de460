"""Every config that ships, and every method of the comparison that can be made small, runs fit, test and predict."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml

import nasoseg
from nasoseg.cli import main
from nasoseg.cli.quieting import quieten
from nasoseg.cli.training import TrainingCLI

ROOT = Path(__file__).parent.parent
NO_METHOD = {"wandb.yaml"}  # goes beside a method's: tests/cli/test_wandb.py
SHIPPED = sorted(
    path.name.removesuffix(".yaml")
    for path in files("nasoseg.configs").iterdir()
    if path.name.endswith("yaml") and path.name not in NO_METHOD
)
METHODS_FOLDER = ROOT / "benchmarks" / "accuracy" / "methods"
METHODS = sorted(path for path in METHODS_FOLDER.glob("*.yaml") if path.stem != "nnunet")  # a program of its own


SHARED = ["--config", str(ROOT / "benchmarks" / "accuracy" / "openkbp.yaml")]
NARROW = ["--model.init_args.width", "4"]
TINY_MASK_RCNN = [
    "--model.init_args.scale",
    "1",
    "--model.init_args.proposals",
    "20",
    "--model.init_args.detections",
    "5",
]
TINY_MASK_RCNN += ["--model.init_args.backbone", "small_backbone.small_backbone"]
TINY_MASK_RCNN += ["--model.init_args.backbone.init_args.in_channels", "7"]
SMALL = {  # the methods that can be made small enough to run end to end
    "unet": NARROW,
    "two_stage": NARROW,
    "unet_msp": NARROW,
    "two_stage_no_msp": NARROW,
    "two_stage_half": NARROW,
    "segformer": [],
    "mask_rcnn": TINY_MASK_RCNN,
}


def on_small_store(config: list[str], store: Path, run: Path) -> list[str]:
    data = ["--data.store", str(store), "--data.folds", "4", "--data.augmentation.init_args.crop", "48"]
    return [*config, *data, "--run", str(run), "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]


def run_end_to_end(config: list[str], store: Path, run: Path) -> None:
    assert main(["fit", *on_small_store(config, store, run), "--trainer.limit_train_batches", "2"]) == 0
    assert (run / "metrics.csv").stat().st_size > 1000
    assert main(["predict", "--config", str(run / "config.yaml")]) == 0
    assert len(list((run / "predictions").rglob("*.nii.gz"))) == 3 * 10  # test patients x structures
    assert nasoseg.load(run, trust=True).labels == nasoseg.Store(store).names


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_config(name, small_store, tmp_path):
    run_end_to_end(["--config", name, *NARROW], small_store.path, tmp_path / "run")


@pytest.mark.parametrize("method", SMALL)
def test_method_of_the_comparison(method, small_store, tmp_path):
    config = [*SHARED, "--config", str(METHODS_FOLDER / f"{method}.yaml"), *SMALL[method]]
    config += ["--trainer.check_val_every_n_epoch", "1"]
    run_end_to_end(config, small_store.path, tmp_path / "run")


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_method_as_it_is_trains_and_validates_a_batch(method, small_store, tmp_path):
    """At its full size; a dry run of Lightning's, because some of their checkpoints are 500 MB."""
    arguments = on_small_store([*SHARED, "--config", str(method)], small_store.path, tmp_path / "run")
    quieten()
    cli = TrainingCLI("fit", [*arguments, "--data.batch_size", "2", "--trainer.fast_dev_run", "1"])
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert "val/dsc" in cli.trainer.callback_metrics


def test_methods_differ_in_their_model_alone():
    """Equal data, augmentation and steps: what a method's config may set is the model."""
    for method in METHODS:
        assert set(yaml.safe_load(method.read_text())) == {"model"}


def test_the_papers_config_is_the_default(small_store):
    config = yaml.safe_load(files("nasoseg.configs").joinpath("two_stage.yaml").read_text())
    init = config["model"]["init_args"]
    assert init["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}}
    assert init["lr_scheduler"]["init_args"] == {"step_size": 10, "gamma": 0.9}
    assert config["trainer"]["max_epochs"] == 100
    default = nasoseg.TwoStageUNet(labels=["Larynx"])
    written = nasoseg.TwoStageUNet(labels=["Larynx"], width=init["width"], coupling=init["coupling"])
    assert {n: t.shape for n, t in default.state_dict().items()} == {
        n: t.shape for n, t in written.state_dict().items()
    }
