"""Checkpoints and run folders from strangers, and damaged ones: refused with a reason, and nothing runs."""

import os
import shutil

import pytest
import torch
import yaml
from safetensors.torch import save_file

import nasoseg
from nasoseg.errors import NasosegError
from nasoseg.tasks.checkpoints import AtomicCheckpointIO, load_checkpoint


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def run(tmp_path):
    """A run folder with the files that loading reads."""
    model = nasoseg.UNet(labels=["Larynx", "Mandible"], width=4)
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": model.state_dict()}, folder / "checkpoints" / "best.ckpt")
    save_file(model.state_dict(), folder / "checkpoints" / "best.safetensors")
    config = {
        "model": {"class_path": "nasoseg.UNet", "init_args": {"width": 4}},
        "data": {"labels": model.labels, "windows_hu": [[-160.0, 240.0]], "context": 0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def change_config(run, change):
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def test_loads_whole(run):
    model = nasoseg.load(run)
    assert model.labels == ["Larynx", "Mandible"]
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(NasosegError, match=r"checkpoints/best\.ckpt"):
        nasoseg.load(run)


def test_channels_follow_from_windows_and_context(run):
    change_config(run, lambda c: c["data"].update(context=1, windows_hu=[[-160, 240], [0, 80]]))
    with pytest.raises(NasosegError, match="another network"):
        nasoseg.load(run)
    wide = nasoseg.UNet(labels=["Larynx", "Mandible"], in_channels=6, width=4)
    save_file(wide.state_dict(), run / "checkpoints" / "best.safetensors")
    assert nasoseg.load(run).in_channels == 6


@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_that_carries_code_is_refused_and_does_not_run(tmp_path, whole):
    path, marker = tmp_path / "evil.ckpt", tmp_path / "ran"
    payload = Payload(marker)
    torch.save(payload if whole else {"state_dict": {}, "callbacks": payload}, path)
    with pytest.raises(NasosegError, match=r"evil\.ckpt: refused.*carries code, is not loaded"):
        load_checkpoint(path)
    with pytest.raises(NasosegError, match="refused"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + b"\0" * 100])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(NasosegError, match=r"x\.ckpt: refused"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_a_truncated_checkpoint_is_refused(run):
    path = run / "checkpoints" / "best.ckpt"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(NasosegError, match="damaged"):
        load_checkpoint(path)


def test_tensors_that_are_no_checkpoint_are_refused(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "x.ckpt")
    with pytest.raises(NasosegError, match="no state_dict"):
        load_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(NasosegError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "y.ckpt")


def test_damaged_safetensors_are_refused(run):
    path = run / "checkpoints" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(NasosegError, match="safetensors"):
        nasoseg.load(run)


@pytest.mark.parametrize("class_path", ["os.system", "subprocess.Popen", "refiner.Refiner"])
@pytest.mark.parametrize("place", ["model", "part"])
def test_a_config_that_names_foreign_code_is_refused(run, class_path, place, tmp_path):
    def change(config):
        if place == "model":
            config["model"] = {"class_path": class_path, "init_args": {"command": f"touch {tmp_path / 'ran'}"}}
        else:
            config["model"]["init_args"]["loss"] = {"class_path": class_path, "init_args": {}}

    change_config(run, change)
    with pytest.raises(NasosegError, match=f"names the class '{class_path}'.*trust=True"):
        nasoseg.load(run)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("loss", ["evil_module.Loss", " evil_module.Loss ", "{class_path: evil_module.Loss}"])
def test_a_class_named_without_class_path_does_not_slip_through(run, loss, tmp_path, monkeypatch):
    """The parser takes a string for a class, and reads it as YAML."""
    (tmp_path / "evil_module.py").write_text("open('ran', 'w')\nfrom torch.nn import Identity as Loss\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    change_config(run, lambda config: config["model"]["init_args"].update(loss=loss))
    with pytest.raises(NasosegError, match=r"names the class 'evil_module\.Loss'.*trust=True"):
        nasoseg.load(run)
    assert not (tmp_path / "ran").exists()


def test_a_short_class_path_does_not_slip_through(run):
    """A bare class name is looked up by the parser: only a named module can be trusted."""
    change_config(run, lambda config: config["model"].update(class_path="UNet"))
    with pytest.raises(NasosegError, match=r"trust=True \(the command line: --trust\)"):
        nasoseg.load(run)


@pytest.mark.parametrize("text", ["", "- 1", "model: 3", "model: [", "data: {}\nmodel: {}", "\x00"])
def test_a_config_that_is_none_is_refused(run, text):
    (run / "config.yaml").write_text(text)
    with pytest.raises(NasosegError, match=r"config\.yaml"):
        nasoseg.load(run)


def test_weights_go_into_a_given_model(run):
    (run / "config.yaml").unlink()
    with pytest.raises(NasosegError, match=r"pass model=\.\.\."):
        nasoseg.load(run)
    model = nasoseg.load(run, model=nasoseg.UNet(labels=["Larynx", "Mandible"], width=4))
    assert torch.equal(
        model.network.head.weight, torch.load(run / "checkpoints" / "best.ckpt")["state_dict"]["network.head.weight"]
    )
    with pytest.raises(NasosegError, match="another network"):
        nasoseg.load(run, model=nasoseg.UNet(labels=["Larynx"], width=4))


def test_saving_is_whole_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(NasosegError, match=r"x\.ckpt: .*No space left.*--ckpt_path last"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]
