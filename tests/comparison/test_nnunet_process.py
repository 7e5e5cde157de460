"""Running a command: its log, its failure, and that nothing of it is left when it is interrupted."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from nasoseg.comparison.nnunet_process import locked, run_logged
from nasoseg.errors import NasosegError

PARENT_WITH_WORKER = """
import os, subprocess, sys, time
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", stubborn])
time.sleep(0.3)
open(sys.argv[1], "w").write(f"{os.getpid()} {worker.pid}")
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def run(tmp_path):
    """Run Python code as a command with its log in the temporary folder."""

    def logged(code, *arguments, watch=lambda tail: None):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        with locked(tmp_path / "lock") as descriptor:
            run_logged(command, log=tmp_path / "log", variables=os.environ, descriptor=descriptor, watch=watch)

    return logged


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_what_is_printed_goes_to_the_log_and_is_watched(run, tmp_path):
    seen = []
    run("print('first'); import sys; print('second', file=sys.stderr)", watch=seen.append)
    run("print('third')", watch=seen.append)
    log = (tmp_path / "log").read_text()
    assert log.count("\n$ ") == 2
    assert all(word in log for word in ("first", "second", "third"))
    assert "third" in seen[-1]
    assert "first" not in seen[-1]


def test_a_failure_shows_the_last_lines_and_the_log(run, tmp_path):
    with pytest.raises(NasosegError) as told:
        run("for i in range(40): print(f'line {i}')\nraise SystemExit(3)")
    assert "ended with 3" in str(told.value)
    assert str(tmp_path / "log") in str(told.value)
    assert "line 39" in str(told.value)
    assert "line 20" not in str(told.value)


def test_a_killed_command_is_told_with_a_remedy(run):
    with pytest.raises(NasosegError, match=r"killed by SIGKILL.*(?s:.*)--batch-size"):
        run("import os; os.kill(os.getpid(), 9)")


@pytest.mark.parametrize("by", ["interrupt", "termination"])
def test_interrupted_it_ends_its_workers_too(run, tmp_path, by):
    pids: list[int] = []

    def watch(tail):
        if (tmp_path / "pids").is_file():
            pids.extend(map(int, (tmp_path / "pids").read_text().split()))
            if by == "interrupt":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(PARENT_WITH_WORKER, tmp_path / "pids", 60, watch=watch)
    assert len(pids) == 2
    assert gone(pids)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_worker_that_outlives_the_command_is_ended(run, tmp_path):
    run(PARENT_WITH_WORKER, tmp_path / "pids", 0)
    assert gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])


def test_two_cannot_work_in_one_folder(tmp_path):
    def claim_twice():
        with locked(tmp_path / "run" / "lock"), locked(tmp_path / "run" / "lock"):
            pass

    with pytest.raises(NasosegError, match="another process works in"):
        claim_twice()
    with locked(tmp_path / "run" / "lock"):
        pass
