"""Processes and clocks that fail a run: what died is said, nobody waits for ever, and the weights are the same."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import victims
import yaml
from plain_process import _descendants

from nasoseg.tasks.checkpoints import load_checkpoint


def until(found, seconds=60):
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_data_worker_that_is_killed_is_named(warm, fit_config, tmp_path, part):
    run = tmp_path / "run"
    command = ["fit", "--config", fit_config, "--run", run, "--data.workers", 1, "--trainer.max_epochs"]
    running = warm.start(*command, 2000, log=tmp_path / "log")
    until((run / "checkpoints" / "last.ckpt").exists)
    workers = []
    until(lambda: workers.extend(_descendants(running.pid)) or workers)
    os.kill(workers[-1 if part == "validation" else 0], signal.SIGKILL)
    code = running.wait(60)
    assert code == 1, running.said
    assert "Traceback" not in running.said
    assert re.search(
        r"error: a data worker of this run has ended \(.*pid.*data\.workers.*--ckpt_path last", running.said
    )
    epochs = load_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] + 2
    code, said = warm.run(*command, epochs, "--ckpt_path", "last", log=tmp_path / "log")
    assert code == 0, said


def test_a_clock_that_jumps_changes_nothing(warm, fit_config, studies, tmp_path):
    """Back and forth by days at every look: in training, in a resumed training, in preparing."""
    found = []
    for name, conditions in (("steady", {}), ("jumping", {"clock_seed": 1})):
        home = tmp_path / name
        home.mkdir()
        one_epoch = victims.fit(fit_config, "--trainer.max_epochs", 2, "--test_at_end", "false")
        for victim in (one_epoch, victims.fit(fit_config)):
            code, said = warm.run(*victim.arguments(home), log=tmp_path / f"{name}.log", **conditions)
            assert code == 0, said
            # The newest is the one of the most steps, whatever the times of the files say.
            os.utime(home / "run" / "checkpoints" / "last.ckpt", (0, 0))
            os.utime(home / "run" / "checkpoints" / "previous.ckpt", (2**31, 2**31))
        fitted = victims.fit_results(home)
        prepared = tmp_path / f"{name}-prepared"
        prepared.mkdir()
        victim = victims.prepare(studies)
        code, said = warm.run(*victim.arguments(prepared), log=tmp_path / f"{name}.log", **conditions)
        assert code == 0, said
        found.append((fitted, victim.results(prepared)))
    assert found[0] == found[1]
    assert not re.search(
        r"-\d+(\.\d+)? (s|images)", (tmp_path / "jumping.log").read_text()
    )  # no negative time or speed


STRATEGY = {
    "class_path": "lightning.pytorch.strategies.DDPStrategy",
    "init_args": {"process_group_backend": "gloo", "timeout": "0:00:20"},
}


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_process_of_two_that_stops_ends_the_run_within_its_timeout(fit_config, tmp_path, stopped):
    """SIGSTOP, as when a machine hangs: the other ends with a message once the timeout of the process group is over.

    Lightning's timeout is 30 minutes by default; here it is 20 seconds. The stopped process ends when it goes on.
    """
    config = yaml.safe_load(fit_config.read_text())
    config["trainer"] |= {"devices": 2, "strategy": STRATEGY, "max_epochs": 5000}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(
            [sys.executable, "-m", "nasoseg", "fit", "--config", str(tmp_path / "two.yaml"), "--run", str(run)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    try:
        until((run / "checkpoints" / "last.ckpt").exists, 240)
        (second,) = _descendants(first.pid)
        victim, other = (first.pid, second) if stopped == 0 else (second, first.pid)
        os.kill(victim, signal.SIGSTOP)
        until(lambda: _ended(other), 90)
        said = (tmp_path / "log").read_text()
        assert re.search(r"a process of this run has ended \(.*imed out", said), said
        assert "Traceback" not in said
        os.kill(victim, signal.SIGCONT)
        until(lambda: _ended(victim), 60)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    load_checkpoint(run / "checkpoints" / "last.ckpt")


def _ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True
