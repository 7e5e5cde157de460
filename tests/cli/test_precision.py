import lightning
import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.plugins.precision import MixedPrecision

from nasoseg.cli import training
from nasoseg.cli.precision import HINT, default_precision, is_slower_than_need_be


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: not including_emulation)


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_a_gpu_with_bfloat16_uses_it(gpu, accelerator):
    assert default_precision(accelerator, None) == "bf16-mixed"


@pytest.mark.parametrize(("accelerator", "plugins"), [
    ("cpu", None),
    ("mps", None),
    (lightning.pytorch.accelerators.CPUAccelerator(), None),
    ("auto", [MixedPrecision("bf16-mixed", "cuda")]),
    ("auto", Namespace(class_path="lightning.pytorch.plugins.HalfPrecision")),
    ("auto", "16-mixed"),
])  # fmt: skip
def test_another_device_or_a_plugin_is_left_alone(gpu, accelerator, plugins):
    assert default_precision(accelerator, plugins) is None


def test_an_older_gpu_stays_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert default_precision("auto", None) is None


@pytest.mark.parametrize(("precision", "amx", "said"), [("32-true", True, True), ("32-true", False, False),
                                                        ("bf16-mixed", True, False)])  # fmt: skip
def test_a_processor_that_could_be_faster_is_named(monkeypatch, precision, amx, said):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    trainer = lightning.Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    assert is_slower_than_need_be(trainer) is said


def test_what_is_chosen_stands_in_the_run_and_is_kept(nasoseg_command, small_store, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "default_precision", lambda accelerator, plugins: "bf16-mixed")
    arguments = [
        "--data.store",
        small_store.path,
        "--data.folds",
        4,
        "--run",
        tmp_path / "run",
        "--test_at_end",
        "false",
    ]
    arguments += ["--model.init_args.width", 4, "--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1]
    done = nasoseg_command("fit", *arguments, "--trainer.accelerator", "cpu")
    assert done.code == 0, done.err
    assert HINT not in done.out
    config = tmp_path / "run" / "config.yaml"
    assert yaml.safe_load(config.read_text())["trainer"]["precision"] == "bf16-mixed"
    monkeypatch.undo()
    done = nasoseg_command("fit", "--config", config, "--force", "true", "--trainer.precision", "32")
    assert done.code == 0, done.err
    assert yaml.safe_load(config.read_text())["trainer"]["precision"] in (32, "32")
