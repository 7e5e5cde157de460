import json

import pytest

from nasoseg.data.training_data import Range, TrainingData
from nasoseg.errors import NasosegError
from nasoseg.inference.description import ModelDescription, read_description

DESCRIPTION = ModelDescription(
    labels=("Larynx", "Rückenmark"),
    head="multiclass",
    in_channels=3,
    training_data=TrainingData(((-160.0, 240.0),), context=1, patients=4, slice_mm=Range(2, 3, 3.5)),
    weights_sha256="ab" * 32,
    nasoseg="0.1.0",
)


def test_it_is_read_as_it_was_written():
    text = DESCRIPTION.to_json()
    assert text.isascii()
    assert read_description(text, where="model.onnx") == DESCRIPTION


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version 2, this nasoseg reads 'nasoseg-model' version 1"),
        ({"format": "other"}, "described as 'other'"),
        ({"head": "sigmoid"}, "head 'sigmoid'"),
        ({"labels": []}, "labels: found an empty list"),
        ({"training_data": {"windows_hu": [[240, -160]]}}, "windows_hu"),
        ({"in_channels": None}, "TypeError"),
    ],
)
def test_a_description_that_makes_no_sense(changes, words):
    text = json.dumps(json.loads(DESCRIPTION.to_json()) | changes)
    with pytest.raises(NasosegError, match=words):
        read_description(text, where="model.onnx")


def test_a_description_that_is_no_json():
    with pytest.raises(NasosegError, match=r"model\.onnx: its description cannot be read"):
        read_description("{", where="model.onnx")
