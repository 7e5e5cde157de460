"""A network that computes in bfloat16."""

from pathlib import Path

import numpy as np
import pytest

import nasoseg
from nasoseg.cli import main
from nasoseg.data.training_data import TrainingData
from nasoseg.errors import NasosegError
from nasoseg.inference.ensemble import Ensemble
from nasoseg.inference.runs import load_models
from nasoseg.inference.task_model import TaskModel
from nasoseg.volumes.nifti import write_volume
from nasoseg.volumes.volume import Geometry, Volume


@pytest.fixture(scope="module")
def model():
    task = nasoseg.TwoStageUNet(labels=["Larynx", "Mandible"], width=8).eval()
    task.training_data = TrainingData(((-160.0, 240.0),))
    return task


def noise() -> Volume:
    array = np.random.default_rng(0).integers(-200, 300, (3, 24, 20)).astype(np.int16)
    return Volume(array, Geometry(array.shape, np.eye(4)[[2, 1, 0, 3]]))


def test_probabilities_are_float32_and_nearly_those_of_float32(model):
    images = np.random.default_rng(0).standard_normal((2, 1, 48, 40)).astype(np.float32)
    exact, rounded = Ensemble([model])(images), Ensemble([model], precision="bf16")(images)
    assert str(rounded.dtype) == "torch.float32"
    apart = float((exact - rounded).abs().max())
    assert 1e-5 < apart < 0.05  # bfloat16 has eight bits


def test_a_scan_is_segmented_in_it(model):
    volume = noise()
    exact, rounded = nasoseg.segment(model, volume), nasoseg.segment(model, volume, precision="bf16")
    for name in model.labels:
        differ = (exact.masks[name] != rounded.masks[name]).mean()
        assert differ < 0.1, name  # random weights: nearly every probability is near 1/2


def test_an_unknown_precision_and_a_model_that_has_its_own_are_errors(model):
    with pytest.raises(NasosegError, match="found 'fp8', expected 32 or bf16"):
        Ensemble([model], precision="fp8")
    with pytest.raises(NasosegError, match="a model that has its own"):
        Ensemble([TaskModel(model)], precision="bf16")
    with pytest.raises(NasosegError, match=r"was exported in float32"):
        load_models([Path("model.onnx")], precision="bf16")


def test_the_command(model, tmp_path):
    model.save_pretrained(tmp_path / "run")
    volume = noise()
    write_volume(tmp_path / "ct.nii.gz", volume.array, volume.geometry)
    arguments = ["segment", str(tmp_path / "run"), str(tmp_path / "ct.nii.gz"), str(tmp_path / "out"), "--quiet"]
    assert main([*arguments, "--precision", "bf16"]) == 0
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 2
