import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK
from generated_dicom import write_ct
from generated_scans import tissue

from nasoseg.inference import load_exported

AFFINE = np.array([[0, 0, 3.0, -50], [0, 3.0, 0, -60], [3.0, 0, 0, 10], [0, 0, 0, 1]])

SEGMENT_TWICE = """
import sys
from nasoseg.cli import main
models, scan, out = sys.argv[1:3], sys.argv[3], sys.argv[4]
codes = [main(["segment", m, scan, out + m.rpartition(".")[2], "--format", "rtstruct,seg,nifti"]) for m in models]
print("ended", codes, sorted({"torch", "lightning", "albumentations"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory, nasoseg_command):
    """A copy of a trained run, exported as ONNX and OpenVINO into its folder."""
    run = shutil.copytree(trained[0], tmp_path_factory.mktemp("exported") / "run")
    said = []
    for kind in ("onnx", "openvino"):
        ended = nasoseg_command("export", run, "--format", kind)
        assert ended.code == 0, ended.err
        assert ended.err == ""
        said.append(ended.out)
    return run, said


def test_a_run_is_exported_into_its_folder(exported):
    run, said = exported
    assert f"written: {run / 'model.onnx'} (" in said[0]
    assert "differs from PyTorch by" in said[1]
    assert {"model.onnx", "model.xml", "model.bin"} <= {path.name for path in run.iterdir()}
    model = load_exported(run / "model.onnx")
    assert model.training_data is not None
    assert model.training_data.as_dict() == json.loads((run / "training_data.json").read_text()) | {
        "windows_hu": [list(window) for window in model.training_data.windows_hu]
    }
    weights = hashlib.sha256((run / "checkpoints" / "best.safetensors").read_bytes())
    assert model.description.weights_sha256 == weights.hexdigest()


def test_segment_runs_it_without_torch(exported, nasoseg_command, tmp_path):
    run, _ = exported
    write_ct(tmp_path / "ct", np.concatenate([tissue((5, 40, 36))] * 2, axis=1), AFFINE)
    here = nasoseg_command("segment", run, tmp_path / "ct", tmp_path / "torch", "--format", "nifti")
    assert here.code == 0, here.err
    models = [run / "model.onnx", run / "model.xml"]
    command = [sys.executable, "-c", SEGMENT_TWICE, *models, tmp_path / "ct", tmp_path / "out_"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[-1] == "ended [0, 0] []", ended.stdout + ended.stderr
    for kind in ("onnx", "xml"):
        folder = tmp_path / f"out_{kind}" / "ct"
        assert {"rtstruct.dcm", "seg.dcm", "SpinalCord.nii.gz"} <= {path.name for path in folder.iterdir()}
        for path in (tmp_path / "torch" / "ct").glob("*.nii.gz"):
            expected, found = (
                SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for file in (path, folder / path.name)
            )
            assert np.count_nonzero(expected != found) <= 3  # a probability of just about 1/2


def test_every_run_of_a_folder_is_exported(trained, nasoseg_command, tmp_path):
    for fold in ("fold0", "fold1"):
        shutil.copytree(trained[0], tmp_path / "runs" / fold)
    out = tmp_path / "model.pt"
    several = nasoseg_command("export", tmp_path / "runs", "--format", "torchscript", "--out", out)
    assert several.code == 1
    assert "is one file, and" in several.err
    (tmp_path / "runs" / "fold1" / "model.pt").write_text("kept")
    taken = nasoseg_command("export", tmp_path / "runs", "--format", "torchscript")
    assert taken.code == 1
    assert "fold1/model.pt: exists already: pass --force" in taken.err
    assert not (tmp_path / "runs" / "fold0" / "model.pt").exists()
    ended = nasoseg_command("export", tmp_path / "runs", "--format", "torchscript", "--force")
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 2


def test_wrong_arguments_end_in_one_line(exported, trained, nasoseg_command, tmp_path):
    run, _ = exported

    def error(*arguments) -> str:
        ended = nasoseg_command(*arguments)
        assert ended.code == 1
        assert len(ended.err.splitlines()) == 1
        return ended.err

    assert "found 'tflite', expected one of onnx, torchscript, openvino" in error("export", run, "--format", "tflite")
    assert "model.onnx: exists already: pass --force" in error("export", run)
    assert "no such run" in error("export", tmp_path / "none")
    scan = tmp_path / "scan"
    write_ct(scan, tissue((5, 40, 36)), AFFINE)
    mixed = error("segment", run / "model.onnx", run, scan, tmp_path / "out")
    assert "expected exported models alone" in mixed
    assert "TorchScript is for other programs" in error("segment", run / "model.pt", scan, tmp_path / "out")
    damaged = shutil.copy(run / "model.onnx", tmp_path / "model.onnx")
    damaged.write_bytes(damaged.read_bytes()[:-500])
    assert "it is cut short" in error("segment", damaged, scan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
