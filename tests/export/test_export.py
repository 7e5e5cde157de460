import json
import site
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import nasoseg
from nasoseg.errors import NasosegError
from nasoseg.export import FORMATS, SUFFIX_OF, export_model
from nasoseg.inference import load_exported
from nasoseg.models import UNet

ODD = (slice(None), slice(None), slice(3, 100), slice(5, 88))  # of rows and columns


@pytest.fixture(scope="module")
def two_stage(make_task, lively, tmp_path_factory):
    """The paper's network, small and shallow, in all three formats."""
    torch.manual_seed(0)
    stages = {"stage1": UNet(2, 3, depth=3, width=2), "stage2": UNet(5, 3, depth=2, width=2)}
    task = lively[1](make_task(nasoseg.TwoStageUNet, width=2, **stages))
    folder = tmp_path_factory.mktemp("exported")
    paths = {kind: folder / f"model{SUFFIX_OF[kind]}" for kind in FORMATS}
    for kind, path in paths.items():
        assert export_model(task, path, kind=kind) < 1e-5
    return task, paths


def torchscript(path: Path):
    module = torch.jit.load(path)
    return lambda images: module(torch.from_numpy(images)).numpy()


@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
@pytest.mark.parametrize("kind", FORMATS)
def test_it_says_what_pytorch_says_on_real_slices(two_stage, lively, kind):
    task, paths = two_stage
    path = paths[kind]
    run = torchscript(path) if kind == "torchscript" else load_exported(path).structure_probabilities
    images = lively[0]
    with torch.no_grad():
        for shown in (images, images[:1], images[ODD], images[:2, :, :96, :64]):
            expected = task(shown).sigmoid().numpy()
            assert expected.std() > 0.1
            np.testing.assert_allclose(run(shown.numpy()), expected, atol=1e-4)


def test_a_softmax_gives_the_structures_alone(make_task, lively, tmp_path):
    task = lively[1](make_task(head="multiclass"))
    export_model(task, tmp_path / "model.onnx")
    model = load_exported(tmp_path / "model.onnx")
    images = lively[0]
    with torch.no_grad():
        expected = task(images).softmax(dim=1).numpy()
    np.testing.assert_allclose(model.structure_probabilities(images.numpy()), expected[:, 1:], atol=1e-4)
    np.testing.assert_allclose(model(images.numpy()), expected, atol=1e-4)


def test_the_description_is_in_every_file(two_stage):
    task, paths = two_stage
    extra = {"nasoseg.json": ""}
    torch.jit.load(paths["torchscript"], _extra_files=extra)
    plain = json.loads(extra["nasoseg.json"])
    assert plain["labels"] == ["LeftParotid", "Larynx", "RightParotid"]
    assert plain["training_data"] == json.loads(json.dumps(task.training_data.as_dict()))
    assert len(plain["weights_sha256"]) == 64
    assert json.loads({p.key: p.value for p in onnx.load(paths["onnx"]).metadata_props}["nasoseg"]) == plain
    for kind in ("onnx", "openvino"):
        model = load_exported(paths[kind])
        assert (model.labels, model.head, model.in_channels) == (task.labels, "multilabel", 1)
        assert model.training_data == task.training_data
        assert model.description.weights_sha256 == plain["weights_sha256"]


def test_onnx_names_its_axes(two_stage):
    graph = onnx.load(two_stage[1]["onnx"]).graph
    found = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert found == {
        "images": ["slices", 1, "rows", "columns"],
        "probabilities": ["slices", 3, "rows", "columns"],
    }
    onnx.checker.check_model(str(two_stage[1]["onnx"]), full_check=True)


def test_no_path_is_in_any_file(two_stage):
    paths = two_stage[1]
    contents = [path.read_bytes() for path in (*paths.values(), paths["openvino"].with_suffix(".bin"))]
    with zipfile.ZipFile(paths["torchscript"]) as archive:
        contents += [archive.read(name) for name in archive.namelist()]
    places = [Path(nasoseg.__file__).parent, *site.getsitepackages(), Path(__file__).parent, paths["onnx"].parent]
    for place in map(str, places):
        assert not any(place.encode() in content for content in contents)


class OnPixels(nn.Module):
    def forward(self, x):
        return x * 2 if x.mean() > 0 else x


class OnSize(nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[-2] > 80 else x


class NotInOnnx(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def with_part(part):
    return {"network": nn.Sequential(nn.Conv2d(1, 3, 1), part)}


@pytest.mark.parametrize(
    ("part", "kind", "words"),
    [
        (OnPixels(), "onnx", r"network\.network\.1 \(OnPixels\) cannot be exported \(Could not guard"),
        (OnPixels(), "torchscript", r"network\.network\.1 \(OnPixels\) cannot be exported"),
        (OnSize(), "onnx", "differ from PyTorch's by .* branches on the size"),
        (NotInOnnx(), "openvino", "has no counterpart in ONNX"),
    ],
)
def test_a_part_that_cannot_be_exported(make_task, tmp_path, capfd, part, kind, words):
    task = make_task(nasoseg.SingleNetwork, **with_part(part)).train()
    with pytest.raises(NasosegError, match=words) as caught:
        export_model(task, tmp_path / f"model{SUFFIX_OF[kind]}", kind=kind)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
    assert task.training


def test_a_file_that_is_there_stays_unless_forced(make_task, tmp_path):
    path = tmp_path / "model.xml"
    path.write_text("kept")
    task = make_task(nasoseg.SingleNetwork, **with_part(nn.Identity()))
    with pytest.raises(NasosegError, match=r"model\.xml: exists already: pass --force"):
        export_model(task, path, kind="openvino")
    assert path.read_text() == "kept"
    path.rename(tmp_path / "model.bin")  # may be the weights of another program
    with pytest.raises(NasosegError, match=r"model\.bin: exists already: pass --force"):
        export_model(task, path, kind="openvino")
    assert (tmp_path / "model.bin").read_text() == "kept"
    export_model(task, path, kind="openvino", force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    assert load_exported(path).labels == task.labels


def test_wrong_arguments(make_task, tmp_path, monkeypatch):
    task = make_task()
    with pytest.raises(NasosegError, match=r"ends in \.onnx, as onnx does"):
        export_model(task, tmp_path / "model.pt")
    with pytest.raises(NasosegError, match="there is no folder"):
        export_model(task, tmp_path / "none" / "model.onnx")
    with pytest.raises(NasosegError, match="did you mean 'onnx'"):
        export_model(task, tmp_path / "model.onnx", kind="onxx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as if it were not installed
    with pytest.raises(NasosegError, match=r"onnxscript is not installed: pip install 'nasoseg\[onnx\]'"):
        export_model(task, tmp_path / "model.onnx")
    task.training_data = None
    with pytest.raises(NasosegError, match="does not say how its images were made"):
        export_model(task, tmp_path / "model.onnx")


def test_weights_that_are_not_numbers_are_refused(make_task, tmp_path):
    task = make_task(nasoseg.SingleNetwork, **with_part(nn.Identity()))
    nn.init.constant_(task.network.network[0].weight, torch.nan)
    with pytest.raises(NasosegError, match="differ from PyTorch's by nan"):
        export_model(task, tmp_path / "model.onnx")
