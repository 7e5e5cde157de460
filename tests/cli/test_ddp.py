"""Several processes (DDP over gloo) on one machine: one run folder, the numbers of one process, an end for all."""

import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
import yaml

from nasoseg.tasks.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow

NASOSEG = [sys.executable, "-m", "nasoseg"]


def start(*arguments, launcher=NASOSEG, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
        **more,
    )


def two_processes(small_store):
    arguments = ["--data.store", small_store.path, "--data.folds", 4, "--data.batch_size", 8]
    arguments += ["--model.init_args.width", 4, "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu"]
    return [*arguments, "--trainer.devices", 2, "--trainer.strategy", "ddp"]


def finish(process, *, seconds=180):
    """Wait for all of a run's processes; return what they said. One that hangs is killed, and fails its test."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"no end after {seconds} s:\n{process.communicate()[0]}")


@pytest.fixture(scope="module")
def of_two(small_store, tmp_path_factory):
    """A run of two processes with one patient to validate: the second has none."""
    run = tmp_path_factory.mktemp("ddp") / "run"
    process = start("fit", *two_processes(small_store), "--run", run)
    return run, finish(process), process.returncode


def test_two_processes_write_one_run(of_two):
    run, out, code = of_two
    assert code == 0, out
    assert out.count("M parameters") == out.count("epoch 1/1") == out.count("run folder: ") == 1
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "split.json", "metrics.csv", "checkpoints", "logs"}
    assert len(pd.read_csv(run / "logs" / "metrics.csv")["val/loss"].dropna()) == 1
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["devices"] == "2"


def test_any_number_of_processes_measures_and_predicts_alike(of_two, tmp_path, nasoseg_command):
    run, out, code = of_two
    assert code == 0, out
    together = (run / "metrics.csv").read_bytes()
    again = ["--config", run / "config.yaml", "--run", run]
    alone = nasoseg_command("test", *again, "--trainer.devices", 1, "--trainer.strategy", "auto")
    assert alone.code == 0, alone.err
    assert (run / "metrics.csv").read_bytes() == together
    four = start("predict", *again, "--trainer.devices", 4)  # three patients: one process has nothing to predict
    out = finish(four)
    assert four.returncode == 0, out
    written = {path.relative_to(run): path.read_bytes() for path in (run / "predictions").rglob("*.nii.gz")}
    alone = nasoseg_command("predict", *again, "--force", "true", "--trainer.devices", 1, "--trainer.strategy", "auto")
    assert alone.code == 0, alone.err
    assert written == {path.relative_to(run): path.read_bytes() for path in (run / "predictions").rglob("*.nii.gz")}
    assert len({path.parent for path in written}) == 3


def test_torchrun_starts_the_processes_too(of_two, small_store, tmp_path):
    """The same run as with Lightning's own processes: the same weights."""
    run = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    launcher += ["--", "nasoseg"]  # without "--" it takes our --run for an abbreviation of its own options
    process = start("fit", *two_processes(small_store), "--run", run, launcher=launcher)
    out = finish(process)
    assert process.returncode == 0, out
    assert out.count("epoch 1/1") == out.count("run folder: ") == 1
    assert (run / "metrics.csv").read_bytes() == (of_two[0] / "metrics.csv").read_bytes()
    ours, theirs = (load_checkpoint(path / "checkpoints" / "last.ckpt")["state_dict"] for path in (run, of_two[0]))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_process_that_is_ended_ends_the_run_with_a_message(small_store, tmp_path):
    arguments = ["--data.store", small_store.path, "--data.folds", 4, "--data.batch_size", 8, "--run", tmp_path / "run"]
    arguments += ["--model.init_args.width", 4, "--trainer.max_epochs", 1000, "--trainer.accelerator", "cpu"]
    process = start("fit", *arguments, "--trainer.devices", 2, "--trainer.strategy", "ddp")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert checkpoint.exists()
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(found.stdout), signal.SIGTERM)
    finally:
        out = finish(process, seconds=60)
    # Either the first process hears no more of the second, or Lightning's watch over processes ends it.
    assert process.returncode in (1, -signal.SIGKILL), out
    assert "process 1 of 2 was told to end (SIGTERM)" in out
    assert re.search("a process of this run has ended|terminated with code", out)
    assert "Traceback" not in out
    load_checkpoint(checkpoint)
