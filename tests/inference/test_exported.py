import shutil
import sys

import numpy as np
import onnx
import pytest
import torch

import nasoseg
from nasoseg.errors import NasosegError
from nasoseg.export import export_model
from nasoseg.inference import load_exported
from nasoseg.inference.ensemble import Ensemble
from nasoseg.inference.exported import ExportedModel
from nasoseg.volumes.volume import Geometry, Volume

KINDS = {".onnx": "onnx", ".xml": "openvino"}
SIDED = {"labels": ["LeftParotid", "Larynx", "RightParotid"], "bands": [(-120.0, 0.0), (0.0, 60.0), (60.0, 900.0)]}


@pytest.fixture(scope="module")
def exported(make_model, tmp_path_factory):
    """A model, as ONNX and as OpenVINO."""
    model = make_model(**SIDED, context=1)
    folder = tmp_path_factory.mktemp("exported")
    for suffix, kind in KINDS.items():
        export_model(model, folder / f"model{suffix}", kind=kind)
    return model, folder


def scan(store, *, pixel_mm: float | None = None) -> Volume:
    key = store.keys[0]
    geometry = store.geometry(key)
    affine = geometry.affine_lps.copy()
    if pixel_mm:
        affine[:3, 1:3] *= pixel_mm / geometry.spacing_mm[1:]
    return Volume(store.read(key, "image", slice(None)), Geometry(geometry.shape, affine))


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("mirror", [False, True])
def test_it_segments_as_the_model_that_was_exported(exported, small_store, suffix, mirror):
    model, folder = exported
    volume = scan(small_store)
    expected = nasoseg.segment(model, volume, mirror=mirror)
    found = nasoseg.segment(load_exported(folder / f"model{suffix}"), volume, mirror=mirror, batch_size=3)
    assert 0.01 < expected.masks["Larynx"].mean() < 0.9
    np.testing.assert_array_equal(found.masks.planes, expected.masks.planes)


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
def test_it_segments_on_other_pixels_too(make_model, like_ours, small_store, tmp_path, head):
    model = make_model(**SIDED, head=head, **like_ours | {"volumes_ml": {}})
    export_model(model, tmp_path / "model.onnx")
    volume = scan(small_store, pixel_mm=0.4)
    expected = nasoseg.segment(model, volume)
    assert "seen on pixels of 1 x 1 mm" in expected.remarks[0]
    found = nasoseg.segment([load_exported(tmp_path / "model.onnx")] * 2, volume)
    unlike = np.count_nonzero(found.masks.planes != expected.masks.planes)
    assert unlike <= 1e-4 * expected.masks.planes.size  # probabilities of just about 1/2
    assert expected.masks["Larynx"].any()


def damaged(folder, tmp_path, suffix, change):
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(change(path.read_bytes()))
    return tmp_path / "model.xml" if suffix == ".bin" else path


def flipped(content: bytes) -> bytes:
    return content[:40] + bytes([content[40] ^ 1]) + content[41:]


@pytest.mark.parametrize(
    ("suffix", "change", "words"),
    [
        (".onnx", flipped, "differs from its checksum: it is damaged"),
        (".xml", flipped, r"differs from its checksum: it or model\.bin is damaged"),
        (".bin", lambda content: content[:-4], r"differs from its checksum: it or model\.bin is damaged"),
        (".onnx", lambda content: content[:200], "it is cut short, or no model that `nasoseg export` wrote"),
        (".onnx", lambda content: b"", "it is cut short"),
        (".xml", lambda content: b"<net/>", "it is cut short"),
    ],
)
def test_a_damaged_file(exported, tmp_path, suffix, change, words):
    path = damaged(exported[1], tmp_path, suffix, change)
    with pytest.raises(NasosegError, match=words) as caught:
        load_exported(path)
    assert str(path) in str(caught.value)


def test_a_model_of_another_program(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(NasosegError, match="no model that `nasoseg export` wrote"):
        load_exported(tmp_path / "other.onnx")


def test_a_file_or_runtime_that_is_missing(exported, tmp_path, monkeypatch):
    folder = exported[1]
    with pytest.raises(NasosegError, match=r"none\.onnx: cannot be read"):
        load_exported(tmp_path / "none.onnx")
    shutil.copy(folder / "model.xml", tmp_path)
    with pytest.raises(NasosegError, match=r"model\.bin: cannot be read"):
        load_exported(tmp_path / "model.xml")
    with pytest.raises(NasosegError, match="TorchScript is for other programs"):
        load_exported(tmp_path / "model.pt")
    for suffix, module, extra in ((".onnx", "onnxruntime", "onnx"), (".xml", "openvino", "openvino")):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
        with pytest.raises(NasosegError, match=rf"{module} is not installed: pip install 'nasoseg\[{extra}\]'"):
            load_exported(folder / f"model{suffix}")


def test_a_device_that_is_missing(exported):
    for device in ("tpu9", "cuda:x"):
        with pytest.raises(NasosegError, match=f"--device: found '{device}', ONNX Runtime has cpu"):
            load_exported(exported[1] / "model.onnx", device=device)
    with pytest.raises(NasosegError, match="--device: found 'npu7', OpenVINO has CPU"):
        load_exported(exported[1] / "model.xml", device="npu7")


@pytest.mark.parametrize("suffix", KINDS)
def test_images_of_other_channels(exported, suffix):
    with pytest.raises(NasosegError, match=r"found images \(1, 2, 8, 8\), expected \(b, 3, h, w\)"):
        load_exported(exported[1] / f"model{suffix}")(np.zeros((1, 2, 8, 8), np.float32))


class Failing(ExportedModel):
    """A model whose runtime fails with more than three slices."""

    def __init__(self, model: ExportedModel, words: str) -> None:
        self._take(model.path, model.description.to_json())
        self.model, self.words, self.seen = model, words, []

    def structure_probabilities(self, images):
        self.seen.append(len(images))
        if len(images) > 3:
            raise RuntimeError(self.words)
        return self.model.structure_probabilities(images)


def test_out_of_memory_halves_the_batch(exported, small_store):
    whole = load_exported(exported[1] / "model.onnx")
    small = Failing(whole, "Non-zero status code: Failed to allocate memory for requested buffer")
    found = nasoseg.segment(small, scan(small_store), batch_size=8)
    np.testing.assert_array_equal(found.masks.planes, nasoseg.segment(whole, scan(small_store)).masks.planes)
    assert small.seen == [8, 4, 2, 2, 2, 2]


def test_a_runtime_that_fails_names_the_file_and_the_images(exported, small_store):
    whole = load_exported(exported[1] / "model.onnx")
    with pytest.raises(NasosegError, match=r"model\.onnx: failed on images \(8, 3, 128, 128\) \(Node 7 is wrong\)"):
        nasoseg.segment(Failing(whole, "Node 7 is wrong\nat line 3"), scan(small_store), batch_size=8)


def test_models_of_both_runtimes_are_averaged(exported):
    model, folder = exported
    images = torch.rand(2, 3, 8, 9, generator=torch.manual_seed(0)).numpy() * 2 - 1
    two = Ensemble([load_exported(folder / "model.onnx"), load_exported(folder / "model.xml")])
    np.testing.assert_allclose(two(images), Ensemble([model])(images), atol=1e-5)
