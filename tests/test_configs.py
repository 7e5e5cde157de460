"""Every config that ships, and every method of the comparison, runs end to end: fit, test, predict."""

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

import nasoseg
from nasoseg.cli import main

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(
    path.name.removesuffix(".yaml") for path in files("nasoseg.configs").iterdir() if path.name.endswith("yaml")
)
METHODS = sorted((ROOT / "benchmarks" / "accuracy" / "methods").glob("*.yaml"))


def run_end_to_end(config: list[str], store: Path, run: Path) -> None:
    small = ["--data.store", str(store), "--data.folds", "4", "--run", str(run), "--model.init_args.width", "4"]
    small += ["--data.augmentation.init_args.crop", "48", "--trainer.accelerator", "cpu"]
    short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
    assert main(["fit", *config, *small, *short]) == 0
    assert (run / "metrics.csv").stat().st_size > 1000
    assert main(["predict", "--config", str(run / "config.yaml")]) == 0
    assert len(list((run / "predictions").rglob("*.nii.gz"))) == 3 * 10  # test patients x structures
    assert nasoseg.load(run).labels == nasoseg.Store(store).names


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_config(name, small_store, tmp_path):
    run_end_to_end(["--config", name], small_store.path, tmp_path / "run")


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_method_of_the_comparison(method, small_store, tmp_path):
    shared = ROOT / "benchmarks" / "accuracy" / "openkbp.yaml"
    run_end_to_end(["--config", str(shared), "--config", str(method)], small_store.path, tmp_path / "run")


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
