"""Models as folders to share: the same masks come back, and what strangers write is refused with a reason."""

import importlib
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import segmentation_models_pytorch as smp
import torch

import nasoseg
from nasoseg.data.training_data import Range, TrainingData
from nasoseg.errors import NasosegError
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.sharing import hub_class
from nasoseg.volumes.volume import Geometry, Volume

LABELS = ["Larynx", "O'Hara: <b> & {co}"]
OWN_NETWORK = """
import torch
from huggingface_hub import PyTorchModelHubMixin

open("imported", "w").close()

class Own(torch.nn.Module, PyTorchModelHubMixin):
    def __init__(self, wide: int = 3, note: str = ""):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, wide, padding=wide // 2)

    def forward(self, x):
        return self.conv(x)
"""


def small(**arguments):
    torch.manual_seed(0)
    task = nasoseg.UNet(LABELS, depth=2, width=4, **arguments)
    task.training_data = TrainingData(((-160.0, 240.0),), patients=3, pixel_mm=Range(0.5, 1.0, 5.0))
    return task.eval()


def same_logits(first, second) -> bool:
    image = torch.randn(1, first.in_channels, 40, 48)
    with torch.no_grad():
        return torch.equal(first(image), second(image))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "model"
    small(head="multiclass").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A network of a user's own, in a module that only he has; importing it leaves a mark."""
    (tmp_path / "own_network.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("own_network")
    sys.modules.pop("own_network", None)


def test_it_comes_back_whole(saved):
    task = small(head="multiclass")
    assert {path.name for path in saved.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    for found in (nasoseg.UNet.from_pretrained(saved), nasoseg.load(saved), nasoseg.load(saved / "model.safetensors")):
        assert same_logits(task, found)
        assert (found.labels, found.head, found.in_channels) == (LABELS, "multiclass", 1)
        assert found.training_data == task.training_data
        assert not found.training
        assert "Not a medical device" in found.model_card


def test_it_segments_as_the_model_that_was_saved(small_store, saved):
    key = small_store.keys[0]
    image = small_store.read(key, "image", slice(2, 4))
    scan = Volume(image, Geometry(image.shape, small_store.geometry(key).affine_lps))
    planes = [nasoseg.segment(model, scan).masks.planes for model in (small(head="multiclass"), nasoseg.load(saved))]
    assert (planes[0] == planes[1]).all()


def test_what_is_of_the_training_stays_behind(tmp_path):
    task = small(loss=torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(2, 1, 1)), optimizer=torch.optim.SGD)
    assert any(name.startswith("staged_loss.") for name in task.state_dict())
    task.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["init_args"] == {"depth": 2, "width": 4}
    assert same_logits(task, nasoseg.load(tmp_path))


def test_a_stage_of_smp_is_described_without_its_download(tmp_path):
    stage = smp.Unet("tu-mobilenetv3_small_050", encoder_weights=None, in_channels=4, classes=2)
    stage._hub_mixin_config["encoder_weights"] = "imagenet"  # as where it began from a download
    task = nasoseg.TwoStageUNet(LABELS, width=4, stage1=stage).eval()
    task.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["init_args"]["stage1"]
    assert written["init_args"]["encoder_weights"] is None
    assert same_logits(task, nasoseg.TwoStageUNet.from_pretrained(tmp_path))


def test_a_foreign_class_needs_trust(own_module, tmp_path):
    task = nasoseg.SingleNetwork(LABELS, network=own_module.Own(wide=5)).eval()
    task.save_pretrained(tmp_path / "shared")
    (tmp_path / "imported").unlink()
    sys.modules.pop("own_network")
    for load in (nasoseg.load, SegmentationTask.from_pretrained):
        with pytest.raises(NasosegError, match=r"config\.json: names the class 'own_network\.Own'.*trust=True"):
            load(tmp_path / "shared")
    assert not (tmp_path / "imported").exists()
    assert same_logits(task, nasoseg.load(tmp_path / "shared", trust=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_path": "os.system", "init_args": {"command": "touch ran"}}, "names the class 'os.system'"),
        ({"init_args": {"loss": "{class_path: own_network.Own}"}}, "names the class 'own_network.Own'"),
        ({"labels": ["{class_path: own_network.Own}", "b"]}, "expected a list of structure names"),
        ({"labels": [{"class_path": "own_network.Own"}, "b"]}, "expected a list of structure names"),
        ({"labels": ['{"class\\x5fpath": own_network.Own}', "b"]}, "expected a list of structure names"),
        ({"labels": ["Larynx"]}, "the weights are of another network"),
        ({"init_args": {"widht": 4}}, "cannot be built"),
        ({"version": 2}, "version 2, this nasoseg reads 'nasoseg-shared' version 1"),
        ({"in_channels": "1"}, "in_channels is '1', expected int"),
        ({"in_channels": 3}, "1 channels, but in_channels is 3"),
        ({"training_data": {"windows_hu": [[240, -160]]}}, "training_data cannot be read"),
        ({"weights_sha256": "0"}, "its checksum is not the one in config.json"),
        ({"task": "x", "card": "y", "trust": True, "class_path": "own_network.Own"}, "names the class"),
    ],
)
def test_a_config_of_a_stranger_is_refused(folder, own_module, tmp_path, change, words):
    (tmp_path / "imported").unlink()
    sys.modules.pop("own_network")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    for load in (nasoseg.load, nasoseg.UNet.from_pretrained):
        with pytest.raises(NasosegError, match=words):
            load(folder)
    assert not list(tmp_path.glob("imported")) + list(tmp_path.glob("ran"))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"format": "other"}', "{", "\udcff"])
def test_a_file_that_is_no_config_is_refused(folder, text):
    (folder / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(NasosegError, match=r"config\.json: is no config of a shared model"):
        nasoseg.load(folder)
    with pytest.raises(NasosegError, match="model"):
        nasoseg.UNet.from_pretrained(folder)


def test_damaged_weights_are_refused(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(NasosegError, match=r"model\.safetensors: its checksum.*cut off.*copy"):
        nasoseg.UNet.from_pretrained(folder)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(NasosegError, match="checksum"):
        nasoseg.load(folder)
    path.unlink()
    with pytest.raises(NasosegError, match=r"model\.safetensors: cannot be read"):
        nasoseg.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(NasosegError, match="no run folder"):
        nasoseg.load(folder)


def test_another_method_than_expected_is_told(saved):
    with pytest.raises(NasosegError, match=r"holds a UNet, expected a TwoStageUNet: use UNet\.from_pretrained"):
        nasoseg.TwoStageUNet.from_pretrained(saved)


def test_a_model_is_always_written_alike(tmp_path):
    task = small()
    contents = set()
    for number in range(8):
        task.save_pretrained(tmp_path / str(number))
        contents.add(
            tuple((tmp_path / str(number) / name).read_bytes() for name in ("config.json", "model.safetensors"))
        )
    assert len(contents) == 1


def test_what_cannot_be_built_again_is_not_saved(tmp_path):
    class Local(nasoseg.UNet):
        pass

    bare = nasoseg.TwoStageUNet(LABELS, width=4, stage1=torch.nn.Conv2d(4, 2, 1))
    changed = small()
    changed.network.head = torch.nn.Conv2d(4, 2, 3)
    for task, words in [
        (bare, r"stage1: is a Conv2d, and nobody noted how it was made"),
        (Local(LABELS, width=4), "cannot be imported by others"),
        (changed, "built again from its arguments, the model is another one"),
    ]:
        with pytest.raises(NasosegError, match=words):
            task.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_path_of_the_machine_is_shared(own_module, tmp_path):
    for note in ("/home/somebody/weights.pth", r"C:\Users\somebody"):
        task = nasoseg.SingleNetwork(LABELS, network=own_module.Own(note=note))
        with pytest.raises(NasosegError, match=r"network\.init_args\.note: holds the path .*of this machine"):
            task.save_pretrained(tmp_path / "shared")
    assert not (tmp_path / "shared" / "config.json").exists()


def test_the_disk_and_the_hub_refuse(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NasosegError, match=r"file: could not be written"):
        small().save_pretrained(tmp_path / "file")
    with pytest.raises(NasosegError, match=r"somebody/nothing: Hugging Face's hub could not be used.*save_pretrained"):
        nasoseg.UNet.from_pretrained("somebody/nothing", local_files_only=True, cache_dir=tmp_path / "cache")
    with pytest.raises(NasosegError, match="hub could not be used"):
        nasoseg.UNet.from_pretrained(tmp_path / "nowhere")


def test_what_is_pushed_is_the_folder(monkeypatch, tmp_path):
    """Hugging Face's own mixin at work; only its client is replaced, which would need the network and an account."""
    sent = {}

    class Client:
        def __init__(self, token=None):
            sent["token"] = token

        def create_repo(self, repo_id, **about):
            if repo_id == "others/model":
                raise PermissionError("403 Forbidden")
            sent["private"] = about["private"]
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id, folder_path, **about):
            shutil.copytree(folder_path, tmp_path / "sent")
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Client)
    task = small()
    address = task.push_to_hub("name/model", card="# Mine", private=True, token="t")
    assert address == "https://hub/name/model/commit/1"
    assert sent == {"token": "t", "private": True}
    assert same_logits(task, nasoseg.UNet.from_pretrained(tmp_path / "sent"))
    assert (tmp_path / "sent" / "README.md").read_text().endswith("# Mine")
    with pytest.raises(NasosegError, match=r"others/model: Hugging Face's hub could not be used.*403 Forbidden"):
        task.push_to_hub("others/model")


def test_an_unknown_argument_is_a_mistake(saved):
    with pytest.raises(TypeError, match="revison"):
        nasoseg.UNet.from_pretrained(saved, revison="v2")


def test_without_the_hubs_package_folders_still_load(saved, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    hub_class.cache_clear()
    with pytest.raises(NasosegError, match=r"pip install 'nasoseg\[hub\]'"):
        small().save_pretrained(tmp_path)
    assert nasoseg.load(saved).labels == LABELS
