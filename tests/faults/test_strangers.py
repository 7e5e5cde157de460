"""Files from strangers, through the command line: a canary that their code would write is never there.

Beside these: checkpoints and configs one by one in ``tests/tasks/test_checkpoints.py``, zips in
``tests/volumes/test_dicom_archive.py``, file names in ``tests/test_safe_names.py``, scripts in names on the report's
page in ``tests/report/test_html_page.py``.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import h5py
import pytest
import torch
import yaml
from generated_dicom import anatomy, write_ct
from generated_scans import tissue, write_nifti
from generated_studies import AFFINE_RAS
from safetensors.torch import save_file

import nasoseg
from nasoseg.cli import main
from nasoseg.data.store import Store
from nasoseg.data.store_writing import content_sha256
from nasoseg.errors import NasosegError

OUT_OF_PLACE = ["../../x", "..", "/x", "\\x", "..\\..\\x", "C:\\x", "CON", "nul", "NUL.txt", "COM1", "a\0b", "a\nb"]


@pytest.fixture
def canary(tmp_path):
    """What the strangers' code would make."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code of a stranger has run"


@pytest.fixture
def run(tmp_path):
    """A run folder, as it is sent to others."""
    model = nasoseg.UNet(labels=["Larynx", "Mandible"], depth=2, width=2)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    save_file(model.state_dict(), tmp_path / "run" / "checkpoints" / "best.safetensors")
    config = {
        "model": {"class_path": "nasoseg.UNet", "init_args": {"depth": 2, "width": 2}},
        "data": {"labels": model.labels, "windows_hu": [[-160.0, 240.0]], "context": 0},
    }
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "run"


def change(run, **model):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"] |= model
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def scan(tmp_path):
    return write_nifti(tmp_path / "scan.nii.gz", tissue((40, 40, 3)), AFFINE_RAS)


class Payload:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def refused(capsys, *command):
    code = main(list(map(str, command)))
    said = capsys.readouterr().err
    assert code == 1
    assert f"nasoseg {command[0]}: error: " in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("command", ["segment", "export", "fit", "test"])
def test_a_checkpoint_that_carries_code(run, scan, store, canary, capsys, tmp_path, command):
    checkpoint = run / "checkpoints" / "best.ckpt"
    (run / "checkpoints" / "best.safetensors").unlink()
    torch.save({"state_dict": {}, "hyper_parameters": Payload(canary)}, checkpoint)
    shutil.copy(checkpoint, checkpoint.with_name("last.ckpt"))
    if command in ("fit", "test"):
        (run / "config.yaml").unlink()  # of another store, which would be refused first
    training = ["--model.class_path", "nasoseg.UNet", "--data.store", store, "--data.folds", 3, "--run", run]
    training += ["--trainer.accelerator", "cpu", "--ckpt_path"]
    arguments = {
        "segment": [run, scan, tmp_path / "out"],
        "export": [run],
        "fit": [*training, "last"],
        "test": [*training, checkpoint],
    }[command]
    assert "refused" in refused(capsys, command, *arguments)


TOUCH = {"class_path": "os.system", "init_args": {"command": "touch {canary}"}}
CONFIGS = {
    "os.system": TOUCH,
    "Popen": {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "{canary}"]}},
    "eval": {"class_path": "builtins.eval", "init_args": {"source": "open('{canary}', 'w')"}},
    "through a module of ours": {"class_path": "nasoseg.locks.os.system", "init_args": {"command": "touch {canary}"}},
    "through a module of torch": {
        "class_path": "torch.nn.parallel.distributed.os.system",
        "init_args": {"command": "touch {canary}"},
    },
    "a function of ours": {
        "class_path": "nasoseg.report.text_table.write_text",
        "init_args": {"path": "{canary}", "text": "written"},
    },
    "a command of ours": {"class_path": "nasoseg.cli.main", "init_args": {"arguments": ["--version"]}},
    "our program": {"class_path": "nasoseg.__main__.main", "init_args": {}},
    "a module of ours that writes": {"class_path": "nasoseg.locks.os.mkdir", "init_args": {"path": "{canary}"}},
    "hidden in a text": "{{class_path: os.system, init_args: {{command: touch {canary}}}}}",
    "in a list": [TOUCH],
    "a file of its own": "{folder}/evil.yaml",
    "python tags": "!!python/object/apply:os.system ['touch {canary}']",
}


def filled(node, canary):
    if isinstance(node, str):
        return node.format(canary=canary, folder=canary.parent)
    if isinstance(node, list):
        return [filled(child, canary) for child in node]
    return {key: filled(child, canary) for key, child in node.items()}


@pytest.mark.parametrize("place", ["loss", "optimizer", "lr_scheduler", "depth", "model"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_names_code(run, canary, place, config):
    (canary.parent / "evil.yaml").write_text(yaml.safe_dump(filled(TOUCH, canary)))
    evil = filled(config, canary)
    if place == "model":
        content = yaml.safe_load((run / "config.yaml").read_text()) | {"model": evil}
        (run / "config.yaml").write_text(yaml.safe_dump(content))
    else:
        change(run, **{place: evil})
    with pytest.raises(NasosegError, match=r"names the (class|file)|cannot be built|cannot be read"):
        nasoseg.load(run)


def test_python_tags_in_a_config_are_not_obeyed(run, canary):
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text + f"x: !!python/object/apply:os.system ['touch {canary}']\n")
    with pytest.raises(NasosegError, match=r"config\.yaml"):
        nasoseg.load(run)


UNFOLDING = "{" + ", ".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
) + "}"  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("place", ["loss", "labels", "text", "class_path"])
@pytest.mark.parametrize(
    "bomb", [UNFOLDING, "&a [*a]", "[" * 2000 + "]" * 2000], ids=["aliases", "an alias of itself", "depth"]
)
def test_a_config_that_unfolds_without_end(run, place, bomb):
    """Nine aliases of nine aliases, ten times over, stand for more values than any memory holds."""
    content = yaml.safe_load((run / "config.yaml").read_text())
    key = "loss" if place == "text" else place
    holder = {"labels": content["data"], "class_path": content["model"]}.get(key, content["model"]["init_args"])
    holder[key] = 0
    text = yaml.safe_dump(content)
    evil = json.dumps(bomb) if place == "text" else bomb
    where = f"{key}: 0"
    assert where in text
    (run / "config.yaml").write_text(text.replace(where, f"{where[:-1]}{evil}"))
    with pytest.raises(NasosegError, match=r"config\.yaml"):
        nasoseg.load(run)


@pytest.mark.parametrize("name", [*OUT_OF_PLACE, "Larynx", "larynx"])
def test_names_of_structures_stay_in_the_folder(run, scan, tmp_path, name):
    """Of a run's config, as masks are written."""
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["data"]["labels"] = ["Larynx", name]
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    before = {path for path in tmp_path.rglob("*") if path != tmp_path / "out"}
    if main(["segment", str(run), str(scan), str(tmp_path / "out")]) == 0:
        written = sorted(path.name for path in (tmp_path / "out" / "scan").iterdir())
        assert len({written_name.casefold() for written_name in written}) == 2
        assert not [one for one in written if one.split(".")[0].upper() in ("CON", "NUL", "COM1")]
    after = {path for path in tmp_path.rglob("*") if tmp_path / "out" not in (path, *path.parents)}
    assert after == before


def forge(store: Path, path: Path, *, structure: str | None = None, patient: str | None = None) -> Path:
    """Change a name in a store, and all its checksums with it."""
    shutil.copy(store, path)
    with h5py.File(path, "r+") as file:
        if structure is not None:
            described = json.loads(file.attrs["structures"])
            described[0]["name"] = structure
            text = json.dumps(described)
            file.attrs["structures"] = text
            file.attrs["structures_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        if patient is not None:
            file.move(f"patients/{sorted(file['patients'])[0]}", f"patients/{patient}")
        names = [one["name"] for one in json.loads(file.attrs["structures"])]
        file.attrs["content_sha256"] = content_sha256(names, file["patients"])
    return path


@pytest.mark.parametrize("name", [name for name in OUT_OF_PLACE if "\0" not in name])
def test_a_store_with_names_that_lead_elsewhere(store, tmp_path, name):
    with Store(forge(store, tmp_path / "same.h5", structure="Larynges")) as forged:
        assert "Larynges" in forged.names  # the forger's checksums are right
    with pytest.raises(NasosegError, match=r"structure\.h5: structure .*: expected up to"):
        Store(forge(store, tmp_path / "structure.h5", structure=name))
    if "/" not in name:  # HDF5 has no such name
        with pytest.raises(NasosegError, match=r"patient\.h5: patient .*: expected up to"):
            Store(forge(store, tmp_path / "patient.h5", patient=name))


@pytest.mark.parametrize("name", ["CON", "nul.x"])
def test_prepare_refuses_devices_of_windows(studies, tmp_path, name, capsys):
    shutil.copytree(studies / "case 1", tmp_path / "studies" / name)
    assert "no device of Windows" in refused(capsys, "prepare", "nifti", tmp_path / "studies", tmp_path / "s.h5")
    masks = tmp_path / "studies" / name / "segmentations"
    (tmp_path / "studies" / name).rename(tmp_path / "studies" / "fine")
    masks = tmp_path / "studies" / "fine" / "segmentations"
    (masks / "Larynx.nii.gz").rename(masks / f"{name}.nii.gz")
    assert "no device of Windows" in refused(capsys, "prepare", "nifti", tmp_path / "studies", tmp_path / "s.h5")


@pytest.mark.timeout(60)
def test_links_in_folders_of_input(run, tmp_path, capsys):
    """A link to a folder above, one to a file elsewhere, one to nothing: the walk ends, nothing there is changed."""
    write_ct(tmp_path / "export" / "a", anatomy((3, 40, 40)))
    secret = tmp_path / "secret.txt"
    secret.write_text("precious words")
    (tmp_path / "export" / "a" / "up").symlink_to(tmp_path / "export", target_is_directory=True)
    (tmp_path / "export" / "a" / "away.dcm").symlink_to(secret)
    (tmp_path / "export" / "a" / "gone.dcm").symlink_to(tmp_path / "none")
    code = main(["segment", str(run), str(tmp_path / "export"), str(tmp_path / "out")])
    said = "".join(capsys.readouterr())
    assert code == 0, said
    assert "precious" not in said
    assert secret.read_text() == "precious words"
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and b"precious" in path.read_bytes()]


def test_a_link_in_the_place_of_results_is_replaced_and_not_followed(run, scan, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "Larynx.nii.gz").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scan").symlink_to(precious, target_is_directory=True)
    assert main(["segment", str(run), str(scan), str(tmp_path / "out"), "--force"]) == 0
    assert [path.name for path in precious.iterdir()] == ["Larynx.nii.gz"]
    assert (precious / "Larynx.nii.gz").read_text() == "mine"
    assert not (tmp_path / "out" / "scan").is_symlink()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan", "summary.csv"]
