"""Jobs through submitit: it takes over no logging, and jobs that another process is at are waited for."""

import subprocess
import sys

from nasoseg.comparison import slurm
from nasoseg.comparison.board import Board
from nasoseg.comparison.jobs import Job

CODE = """
import io, logging, os
class Mine(logging.StreamHandler):
    def close(self):
        self.stream.close()
handler = Mine(io.StringIO())
from nasoseg.comparison.slurm import import_submitit
submitit = import_submitit()
assert submitit.AutoExecutor
assert not handler.stream.closed
assert not logging.getLogger("submitit").handlers
assert "SUBMITIT_LOG_LEVEL" not in os.environ
"""


def test_handlers_of_others_stay_open():
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


HOLDER = """
import pathlib, sys, time
from nasoseg.locks import file_lock
folder = pathlib.Path(sys.argv[1])
with file_lock(folder / "fold0.lock"), file_lock(folder / "fold1.lock"):
    print("held", flush=True)
    while not (folder / "end").exists():
        time.sleep(0.05)
    (folder / "fold0").mkdir()
    (folder / "fold0" / "metrics.csv").touch()
"""


class Watched(Board):
    """A board that lets the other process end when it is shown to be at both jobs."""

    def update(self, job, state, **about):
        super().update(job, state, **about)
        if set(self.states.values()) == {"elsewhere"}:
            job.run.with_name("end").touch()


def test_jobs_that_another_process_is_at_are_waited_for(tmp_path, monkeypatch):
    """It ends one of the two and leaves the other."""
    monkeypatch.setattr(slurm, "_SECONDS_BETWEEN_LOOKS", 0.2)
    jobs = [Job("unet", "paper", fold, tmp_path / f"fold{fold}", ()) for fold in (0, 1)]
    how = {"logs": tmp_path / "slurm", "options": {}, "score": lambda job: None, "cluster": "local"}
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with Watched(jobs, slots=2, quiet=True) as board:
            faults = slurm.run_cluster(jobs, board, **how)
    assert list(board.states.values()) == ["done", "failed"]
    assert not any(job.log.exists() for job in jobs)  # neither was begun a second time
    assert list(faults) == ["paper/unet/fold1"]
    assert "it is not done: run the same command again when that has ended (log: " in faults["paper/unet/fold1"]
