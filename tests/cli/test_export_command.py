import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK
import torch
import yaml
from generated_dicom import write_ct
from generated_scans import tissue
from safetensors.torch import save_file

from nasoseg.data.training_data import TrainingData
from nasoseg.inference import load_exported
from nasoseg.tasks.loading import load

WEIGHTS = "checkpoints/best.safetensors"
AFFINE = np.array([[0, 0, 3.0, -50], [0, 3.0, 0, -60], [3.0, 0, 0, 10], [0, 0, 0, 1]])

SEGMENT_TWICE = """
import sys
from nasoseg.cli import main
models, scan, out = sys.argv[1:3], sys.argv[3], sys.argv[4]
codes = [main(["segment", m, scan, out + m.rpartition(".")[2], "--format", "rtstruct,seg,nifti"]) for m in models]
print("ended", codes, sorted({"torch", "lightning", "albumentations"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose model finds bone and air."""
    folder = tmp_path_factory.mktemp("runs") / "fold0"
    (folder / "checkpoints").mkdir(parents=True)
    one_by_one = {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 1, "out_channels": 2, "kernel_size": 1}}
    model = {"class_path": "nasoseg.SingleNetwork", "init_args": {"network": one_by_one}}
    data = {"labels": ["Mandible", "Larynx"], "windows_hu": [[-160.0, 240.0]], "context": 0}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": model, "data": data}))
    TrainingData(((-160.0, 240.0),), patients=4).write(folder / "training_data.json")
    weights = {"weight": torch.tensor([[[[10.0]]], [[[-10.0]]]]), "bias": torch.tensor([-5.0, -5.0])}
    save_file({f"network.network.{name}": value for name, value in weights.items()}, folder / WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def exported(run, nasoseg_command):
    """The same run, exported as ONNX and OpenVINO into its folder, and what was said."""
    said = []
    for kind in ("onnx", "openvino"):
        ended = nasoseg_command("export", run, "--format", kind)
        assert ended.code == 0, ended.err
        assert ended.err == ""
        said.append(ended.out)
    return run, said


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A CT with air, soft tissue and bone."""
    hu = tissue((5, 40, 36))
    hu[1:4, 20:30, 10:20] = 1000
    folder = tmp_path_factory.mktemp("scans") / "ct"
    write_ct(folder, hu, AFFINE)
    return folder


def test_a_run_is_exported_into_its_folder(exported):
    run, said = exported
    assert f"written: {run / 'model.onnx'} (" in said[0]
    assert "differs from PyTorch by" in said[1]
    assert {"model.onnx", "model.xml", "model.bin"} <= {path.name for path in run.iterdir()}
    model = load_exported(run / "model.onnx")
    assert (model.labels, model.training_data) == (["Mandible", "Larynx"], load(run).training_data)


@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
def test_what_fit_has_trained_is_exported_with_the_hash_of_its_weights(trained, nasoseg_command, tmp_path):
    ended = nasoseg_command("export", trained[0], "--format", "torchscript", "--out", tmp_path / "model.pt")
    assert ended.code == 0, ended.err
    extra = {"nasoseg.json": ""}
    torch.jit.load(tmp_path / "model.pt", _extra_files=extra)
    description = json.loads(extra["nasoseg.json"])
    assert description["weights_sha256"] == hashlib.sha256((trained[0] / WEIGHTS).read_bytes()).hexdigest()
    assert description["training_data"] == json.loads((trained[0] / "training_data.json").read_text())


def test_segment_runs_it_without_torch(exported, scan, nasoseg_command, tmp_path):
    run, _ = exported
    here = nasoseg_command("segment", run, scan, tmp_path / "torch", "--format", "nifti")
    assert here.code == 0, here.err
    models = [run / "model.onnx", run / "model.xml"]
    command = [sys.executable, "-c", SEGMENT_TWICE, *models, scan, tmp_path / "out_"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[-1] == "ended [0, 0] []", ended.stdout + ended.stderr
    for kind in ("onnx", "xml"):
        folder = tmp_path / f"out_{kind}" / "ct"
        written = {path.name for path in folder.iterdir()}
        assert written == {"rtstruct.dcm", "seg.dcm", "Mandible.nii.gz", "Larynx.nii.gz"}
        for name in ("Mandible.nii.gz", "Larynx.nii.gz"):
            expected, found = (
                SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(place / name)))
                for place in (tmp_path / "torch" / "ct", folder)
            )
            assert expected.any()
            np.testing.assert_array_equal(found, expected)


def test_every_run_of_a_folder_is_exported(run, nasoseg_command, tmp_path):
    for fold in ("fold0", "fold1"):
        shutil.copytree(run, tmp_path / fold)
    command = ["export", tmp_path, "--format", "torchscript"]
    several = nasoseg_command(*command, "--out", tmp_path / "model.pt")
    assert several.code == 1
    assert "is one file, and" in several.err
    (tmp_path / "fold1" / "model.pt").write_text("kept")
    taken = nasoseg_command(*command)
    assert taken.code == 1
    assert "fold1/model.pt: exists already: pass --force" in taken.err
    assert not (tmp_path / "fold0" / "model.pt").exists()
    ended = nasoseg_command(*command, "--force")
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 2
    checkpoint = nasoseg_command("export", tmp_path / "fold0" / WEIGHTS)
    assert checkpoint.code == 0, checkpoint.err
    assert (tmp_path / "fold0" / "checkpoints" / "best.onnx").is_file()


def test_wrong_arguments_end_in_one_line(exported, scan, nasoseg_command, tmp_path):
    run, _ = exported

    def error(*arguments) -> str:
        ended = nasoseg_command(*arguments)
        assert ended.code == 1
        assert len(ended.err.splitlines()) == 1
        return ended.err

    assert "found 'tflite', expected one of onnx, torchscript, openvino" in error("export", run, "--format", "tflite")
    assert "model.onnx: exists already: pass --force" in error("export", run)
    assert "no such run" in error("export", tmp_path / "none")
    mixed = error("segment", run / "model.onnx", run, scan, tmp_path / "out")
    assert "expected exported models alone" in mixed
    assert "TorchScript is for other programs" in error("segment", run / "model.pt", scan, tmp_path / "out")
    damaged = shutil.copy(run / "model.onnx", tmp_path / "model.onnx")
    damaged.write_bytes(damaged.read_bytes()[:-500])
    assert "it is cut short" in error("segment", damaged, scan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
