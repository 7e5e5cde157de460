"""Disks that fill up, cannot be written, or vanish: a message on one screen, nothing half, and the command repeated.

A full disk under ``prepare`` is tested in ``tests/data/test_prepare_faults.py``.
"""

import shutil
import time

import pytest
import victims
from disks import Disk, is_root
from whole import check_whole

NIGHTLY = [pytest.mark.nightly, pytest.mark.timeout(3600)]
COMMANDS = ["prepare", "fit", "segment", "report", "benchmark"]


@pytest.fixture
def make_victim(studies, fit_config, run_folder, tmp_path):
    def make(name):
        if name == "benchmark":
            return victims.benchmark(victims.write_benchmark(tmp_path / "benchmark", fit_config))
        if name == "segment":
            return victims.segment(run_folder, studies, tmp_path / "scans")
        return {"prepare": victims.prepare, "fit": victims.fit, "report": victims.report}[name](
            {"prepare": studies, "fit": fit_config, "report": run_folder}[name]
        )

    return make


@pytest.fixture
def make_disk(tmp_path):
    made = []

    def make(size):
        made.append(Disk(tmp_path / "disk", size))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def on_one_screen(code, said, command, *, words=()):
    assert code == 1, said
    assert "Traceback" not in said
    own = said[said.rindex(f"nasoseg {command}") :] if command != "benchmark" else said
    assert "error: " in own or command == "benchmark", said
    assert len(own.splitlines()) < 25
    assert any(word in said for word in words) or not words, said


def undisturbed(warm, victim, home):
    home.mkdir()
    code, said = warm.run(*victim.arguments(home), log=home.with_suffix(".log"))
    assert code == 0, said
    return victim.results(home)


@pytest.mark.parametrize(
    ("command", "sizes_kb"),
    [
        ("fit", [20, 60]),
        ("segment", [8]),
        ("report", [8]),
        *(pytest.param(name, range(4, 400, 12), marks=NIGHTLY) for name in COMMANDS),
    ],
)
def test_a_disk_that_is_full(warm, make_victim, make_disk, tmp_path, command, sizes_kb):
    """Of several sizes, so that it is full at one file after the other."""
    victim = make_victim(command)
    expected = undisturbed(warm, victim, tmp_path / "whole")
    disk = make_disk("4k")
    refused = 0
    for number, size in enumerate(sizes_kb):
        disk.change(f"size={size}k")
        home = disk.folder / "home"
        home.mkdir(exist_ok=True)
        code, said = warm.run(*victim.arguments(home), log=tmp_path / f"{number}.log")
        if code:
            on_one_screen(code, said, command, words=("No space left", "disk is full"))
            check_whole(home)
            refused += 1
        disk.change("size=50m")
        code, said = warm.run(*victim.arguments(home), log=tmp_path / f"{number}.log")
        assert code == 0, said
        assert victim.results(home) == expected
        shutil.rmtree(home)
    assert refused


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_cannot_be_written(warm, make_victim, make_disk, tmp_path, command):
    victim = make_victim(command)
    disk = make_disk("1m")
    (disk.folder / "home").mkdir()
    disk.change("ro")
    code, said = warm.run(*victim.arguments(disk.folder / "home"), log=tmp_path / "log")
    on_one_screen(code, said, command, words=("Read-only file system",))
    assert not list((disk.folder / "home").iterdir())


@pytest.mark.parametrize("command", ["prepare", "fit", "segment", "report"])
@pytest.mark.parametrize("what", ["output", "input", "folder of input"])
def test_permission_denied(warm, fit_config, run_folder, tmp_path, command, what):
    inputs, home = tmp_path / "inputs", tmp_path / "home"
    shutil.copytree(fit_config.parent, inputs)
    for config in (inputs / "fit.yaml", inputs / "run" / "config.yaml"):
        config.write_text(config.read_text().replace(str(fit_config.parent), str(inputs)))
    home.mkdir()
    scan = inputs / "studies" / "case 0" / "ct.nii.gz"
    arguments, read = {
        "prepare": (["nifti", inputs / "studies", home / "s.h5", "--workers", 1], scan),
        "fit": (["--config", inputs / "fit.yaml", "--run", home / "run"], inputs / "store.h5"),
        "segment": ([inputs / "run", scan, home / "out"], inputs / "run" / "checkpoints" / "best.safetensors"),
        "report": ([inputs / "run", "--out", home / "page"], inputs / "run" / "metrics.csv"),
    }[command]
    denied, mode = {"output": (home, 0o555), "input": (read, 0), "folder of input": (inputs, 0)}[what]
    denied.chmod(mode)
    code, said = warm.run(command, *arguments, log=tmp_path / "log", ruled=True)
    denied.chmod(0o755)
    on_one_screen(code, said, command, words=("ermission denied", "cannot be read"))
    assert str(denied) in said
    check_whole(home)


@pytest.mark.parametrize("what", ["run", "logs"])
def test_a_run_folder_that_vanishes(warm, fit_config, tmp_path, what):
    run = tmp_path / "run"
    started = warm.start("fit", "--config", fit_config, "--run", run, "--trainer.max_epochs", 400, log=tmp_path / "log")
    deadline = time.monotonic() + 60
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    gone = run if what == "run" else run / what
    gone.rename(tmp_path / "gone")
    code = started.wait(120)
    warm.kill_all()
    on_one_screen(code, started.said, "fit", words=("No such file or directory",))
    assert "--ckpt_path last" in started.said


def test_studies_that_vanish(warm, studies, tmp_path):
    root = tmp_path / "studies"
    for number in range(12):
        shutil.copytree(studies / "case 1", root / f"case {number}")
    started = warm.start("prepare", "nifti", root, tmp_path / "s.h5", "--workers", 1, log=tmp_path / "log")
    parts = tmp_path / "s.h5.parts"
    deadline = time.monotonic() + 60
    while not list(parts.glob("*.h5")) and time.monotonic() < deadline:
        time.sleep(0.001)
    root.rename(tmp_path / "gone")
    code = started.wait(60)
    on_one_screen(code, started.said, "prepare", words=("no such", "No such"))
    assert not (tmp_path / "s.h5").exists()
    (tmp_path / "gone").rename(root)
    code, said = warm.run("prepare", "nifti", root, tmp_path / "s.h5", "--workers", 1, log=tmp_path / "log")
    assert code == 0, said
    assert "had been finished by an earlier run" in said


def test_shared_memory_that_is_too_small(warm, fit_config, tmp_path):
    if not is_root():
        pytest.skip("only root can give a process a /dev/shm of its own")
    command = ["fit", "--config", fit_config, "--run", tmp_path / "run", "--data.workers", 1]
    code, said = warm.run(*command, log=tmp_path / "log", shm_bytes=98304)
    on_one_screen(code, said, "fit", words=("/dev/shm",))
    code, said = warm.run(*command, "--force", "true", "--data.workers", 0, log=tmp_path / "log", shm_bytes=98304)
    assert code == 0, said
