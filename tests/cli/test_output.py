"""What commands print: with -q nothing but errors and warnings, with --json one document; and no bars in a pipe."""

import json
import math
import os
import pty
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import h5py
import numpy as np
import pytest
import torch
from generated_scans import tissue, write_nifti
from generated_studies import BOXES, mask, save, write_patients

from nasoseg.cli.output import print_json
from nasoseg.data.splits import Split
from nasoseg.data.store import write_store
from nasoseg.progress import ProgressDisplay

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


def document(ended):
    return json.loads(ended.out)


def test_numbers_that_json_does_not_know_become_null(capsys):
    print_json({"a": math.nan, "b": [math.inf, 1.5, 2], "c": (True, None, "x"), "d": np.float32(0.5)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5, 2], "c": [True, None, "x"], "d": 0.5}


def test_info_and_check_of_a_whole_store(small_store, nasoseg_command):
    assert document(nasoseg_command("info", small_store.path, "--json"))["patients"] == 12
    ended = nasoseg_command("check", small_store.path, "--json")
    found = document(ended)
    warnings = found.pop("warnings")
    assert found == {"store": str(small_store.path), "patients": 12, "whole": True, "findings": []}
    assert not any("bone" in warning for warning in warnings)
    assert "checking: 12/12" in ended.err
    ended = nasoseg_command("check", small_store.path, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_check_of_a_damaged_store(small_store, nasoseg_command, tmp_path):
    path = shutil.copy(small_store.path, tmp_path / "store.h5")
    with h5py.File(path, "r+") as file:
        file["patients/pt_36/image"][2, 5, 5] += 1
    ended = nasoseg_command("check", path, "--json", "-q")
    found = document(ended)
    assert (ended.code, found["whole"], len(found["findings"])) == (1, False, 1)
    assert "pt_36" in found["findings"][0]
    assert "1 findings" in ended.err
    ended = nasoseg_command("check", path, "-q")
    assert (ended.code, ended.out) == (1, "")
    assert "patient pt_36: image differs" in ended.err


def test_check_warns_of_contours_that_do_not_lie_on_their_ct(small_store, nasoseg_command, tmp_path):
    patients = [small_store.patient(key) for key in small_store.keys[:2]]
    elsewhere = replace(patients[0], image=np.full_like(patients[0].image, -1000))
    write_store(tmp_path / "store.h5", [elsewhere, patients[1]], structures=small_store.structures)
    ended = nasoseg_command("check", tmp_path / "store.h5")
    warned = [line for line in ended.out.splitlines() if "warning: " in line]
    assert warned
    assert all(f"{patients[0].key}: " in line for line in warned)
    assert any("Brainstem: 100% of it is air" in line for line in warned)
    assert ended.code == 0  # a warning is for someone to look at
    assert document(nasoseg_command("check", tmp_path / "store.h5", "--json"))["warnings"]


def test_split(small_store, nasoseg_command, tmp_path):
    ended = nasoseg_command("split", small_store.path, tmp_path / "a.json", "--folds", 4, "--json")
    found, split = document(ended), Split.load(tmp_path / "a.json", small_store)
    assert (found["sha256"], found["store_sha256"]) == (split.sha256, small_store.content_sha256)
    assert len(found["folds"]) == 4
    tested = found["folds"][0]["test"]
    assert (tested["patients"], tested["slices"]) == (3, 24)
    assert tested["annotated"] == split.annotated_counts(small_store, 0)["test"]
    assert nasoseg_command("split", small_store.path, tmp_path / "b.json", "-q").out == ""
    again = nasoseg_command("split", small_store.path, tmp_path / "b.json", "--json")
    assert (again.code, again.out) == (1, "")
    assert "exists already" in again.err


def test_evaluate(nasoseg_command, tmp_path):
    truth = write_patients(tmp_path / "truth", patients=2)
    for structure in BOXES:
        save(tmp_path / "ours" / "case 1" / f"{structure}.nii.gz", mask(structure))
        save(tmp_path / "ours" / "case 0" / f"{structure}.nii.gz", mask(structure))
    save(tmp_path / "ours" / "case 0" / "Brainstem.nii.gz", np.zeros_like(mask("Brainstem")))
    save(tmp_path / "ours" / "somebody" / "Larynx.nii.gz", mask("Larynx"))
    ended = nasoseg_command("evaluate", tmp_path / "ours", truth, "--json", "--out", tmp_path / "a.csv")
    assert ended.code == 0, ended.err
    found = document(ended)
    assert (found["method"], found["patients"], found["out"]) == ("ours", 2, str(tmp_path / "a.csv"))
    assert found["structures"]["Brainstem"]["dsc"] == 0.5
    assert found["structures"]["Brainstem"]["hd95"] > 10  # not found in one of two
    assert found["structures"]["Larynx"]["patients"] == 1
    assert found["all"]["dsc"] == pytest.approx(7 / 8)
    assert any("somebody" in note for note in found["notes"])
    assert "evaluating: 2/2" in ended.err
    ended = nasoseg_command("evaluate", tmp_path / "ours", truth, "-q", "--out", tmp_path / "b.csv")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("note: 1 predicted patients without truth")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_prepare(nasoseg_command, tmp_path):
    root = write_patients(tmp_path / "studies", patients=3)
    (root / "case 2" / "ct.nii.gz").write_bytes(b"no image")
    arguments = ("prepare", "nifti", root, tmp_path / "a.h5", "--workers", 1, "-q")
    ended = nasoseg_command(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert "case 2" in ended.err
    ended = nasoseg_command(*arguments, "--skip-bad")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("left out: case 2")
    assert len(ended.err.splitlines()) == 1


def test_segment(trained, nasoseg_command, tmp_path):
    good = write_nifti(tmp_path / "raw" / "good.nii.gz", tissue((40, 40, 4)), AFFINE)
    (tmp_path / "raw" / "bad.nii.gz").write_bytes(good.read_bytes()[:-200])
    ended = nasoseg_command("segment", trained[0], tmp_path / "raw", tmp_path / "out", "--json")
    found = document(ended)
    assert ended.code == 1
    assert list(found["failed"]) == ["bad"]
    (scan,) = found["scans"]
    assert (scan["scan"], scan["written"]) == ("good", str(tmp_path / "out" / "good"))
    assert set(scan["volumes_ml"]) >= {"Larynx", "Mandible"}
    assert len(scan["warnings"]) > 0
    assert "1 of 2 scans could not be segmented" in ended.err
    again = nasoseg_command("segment", trained[0], good, tmp_path / "out", "--json", "--skip-existing")
    assert (again.code, document(again)) == (0, {"scans": [], "failed": {}})
    ended = nasoseg_command("segment", trained[0], good, tmp_path / "quiet", "-q")
    assert (ended.code, ended.out) == (0, "")
    assert "segmenting" not in ended.err
    assert [line.partition(": ")[2] for line in ended.err.splitlines()] == [f"warning: {w}" for w in scan["warnings"]]


def test_training_commands_say_nothing(tiny, nasoseg_command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = nasoseg_command("fit", "--config", tiny, "--trainer.limit_train_batches", 1, "-q", "--test_at_end", "false")
    assert (ended.code, ended.out) == (0, ""), ended.err
    config = tmp_path / "run" / "config.yaml"
    assert "quiet" not in config.read_text()
    for command in ("validate", "test", "predict"):
        ended = nasoseg_command(command, "--config", config, "--quiet")
        assert (ended.code, ended.out) == (0, ""), ended.err
    assert (tmp_path / "run" / "metrics.csv").is_file()
    assert "dsc" in nasoseg_command("validate", "--config", config).out


def work(**options):
    with ProgressDisplay("working", **options) as progress:
        progress("first", 1, 2)
        progress("second", 2, 2)


def seen_on_terminal(monkeypatch) -> str:
    """Work with a terminal as standard error; return what was written to it."""
    leader, follower = pty.openpty()
    pieces: list[bytes] = []

    def drain() -> None:  # all the while: a terminal that nobody reads takes 4 KiB, and then the writer waits
        with suppress(OSError):  # how it says that the other side is closed
            while piece := os.read(leader, 4096):
                pieces.append(piece)

    reader = Thread(target=drain, daemon=True)
    reader.start()
    with os.fdopen(follower, "w") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", file)
        work()
    reader.join(timeout=60)
    os.close(leader)
    return b"".join(pieces).decode()


def test_a_warning_is_a_line(tiny, nasoseg_command):
    optimizer = ["--model.init_args.optimizer", {"class_path": "torch.optim.SGD", "init_args": {"lr": 0}}]
    with pytest.warns(UserWarning, match="learning rate does nothing") as told:
        ended = nasoseg_command("fit", "--config", tiny, *optimizer)
    assert ended.code == 0, ended.err
    said = next(each for each in told if "does nothing" in str(each.message))
    line = warnings.formatwarning(said.message, said.category, said.filename, said.lineno)
    assert line == f"warning: {said.message}\n"
    elsewhere = warnings.formatwarning("odd", UserWarning, torch.__file__, 7)
    assert elsewhere == f"warning: {torch.__file__}:7: UserWarning: odd\n"


def test_a_pipe_gets_plain_lines_whatever_the_environment_says(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    work()
    assert capsys.readouterr().err == "working: 2/2 (second)\n"
    work(quiet=True)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    seen = seen_on_terminal(monkeypatch)
    assert "\x1b[" in seen
    assert "2/2" in seen


def test_a_terminal_that_knows_no_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert seen_on_terminal(monkeypatch) == "working: 2/2 (second)\r\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name is text")
def test_a_path_that_is_no_text_is_escaped(small_store, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.h5"
    os.link(small_store.path, path)
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as in most languages, not in C
    ended = subprocess.run(
        [sys.executable, "-m", "nasoseg", "check", path], env=environment, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert b"caf\\udce9.h5: 12 patients, all checksums right" in ended.stdout
