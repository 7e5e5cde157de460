"""Run jobs on a cluster, through submitit."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasoseg.comparison.board import Board
from nasoseg.comparison.jobs import Job
from nasoseg.comparison.work import State, Work
from nasoseg.errors import NasosegError

_SECONDS_BETWEEN_LOOKS = 5.0
_WAITING = ("PENDING", "REQUEUED", "READY", "UNKNOWN", "CONFIGURING")


class ClusterWork:
    """Run one job on a node; submitit sends it again after a time limit or a preemption, and it is resumed."""

    def __call__(self, job: Job) -> tuple[str, str]:
        """Return the state that the job ended in, and why it failed."""
        work = Work(job)
        state = work.run()
        return state, work.fault

    def checkpoint(self, job: Job) -> Any:
        """Tell submitit what to send again."""
        return import_submitit().helpers.DelayedSubmission(self, job)


def run_cluster(
    jobs: Sequence[Job],
    board: Board,
    *,
    logs: Path,
    options: Mapping[str, Any],
    score: Callable[[Job], float | None],
    cluster: str = "slurm",
) -> dict[str, str]:
    """Submit every job that is not done, and watch them until all have ended. Ctrl-C cancels them, to be resumed.

    A job that another process is at, such as one that an earlier call has sent, is waited for.

    Args:
        jobs: What is to be run.
        board: Where their state is shown.
        logs: Folder of submitit's own files, which every node must see, like the run folders.
        options: Of submitit's executor, such as ``timeout_min``, ``gpus_per_node``, ``slurm_partition``.
        score: Gives the score of a job that is done.
        cluster: ``slurm``, or ``local`` for processes of this machine behind the same interface.

    Returns:
        Job name -> why it failed.

    Raises:
        NasosegError: If submitit is not installed, there is no SLURM here, or an option is unknown.
    """
    submitit = import_submitit()
    try:
        executor = submitit.AutoExecutor(folder=logs / "%j", cluster=cluster)
        executor.update_parameters(**{"timeout_min": 24 * 60, "name": "nasoseg", **options})
        with executor.batch():
            sent = [executor.submit(ClusterWork(), job) for job in jobs]
    except RuntimeError as error:
        raise NasosegError(f"--slurm: {' '.join(str(error).split())[:400]}: run this where `sbatch` works") from error
    except (NameError, TypeError, ValueError, OSError, submitit.core.utils.FailedJobError) as error:
        raise NasosegError(f"slurm: the jobs could not be submitted ({' '.join(str(error).split())[:400]})") from error
    open_jobs = dict(zip((job.name for job in jobs), zip(jobs, sent, strict=True), strict=True))
    faults: dict[str, str] = {}
    try:
        while open_jobs:
            for name, (job, handle) in list(open_jobs.items()):
                state, fault = _look(job, handle)
                board.update(job, state, progress=Work(job).progress(), score=score(job) if state == "done" else None)
                if state == "failed":
                    faults[name] = f"{fault} (log: {job.log}; submitit: {handle.paths.folder})"
                if state in ("done", "failed"):
                    del open_jobs[name]
            time.sleep(_SECONDS_BETWEEN_LOOKS if open_jobs else 0.0)
    finally:
        for job, handle in open_jobs.values():
            if board.states[job.name] != "elsewhere":
                handle.cancel()
                board.update(job, "stopped")
    return faults


def import_submitit() -> Any:
    """Import submitit without its set-up of logging, which closes the handlers that others have made in this process.

    Raises:
        NasosegError: If it is not installed.
    """
    level = os.environ.get("SUBMITIT_LOG_LEVEL")
    os.environ["SUBMITIT_LOG_LEVEL"] = "NOCONFIG"
    try:
        import submitit
    except ImportError as error:
        raise NasosegError("--slurm: submitit is not installed: pip install 'nasoseg[slurm]'") from error
    finally:
        del os.environ["SUBMITIT_LOG_LEVEL"]
        if level is not None:
            os.environ["SUBMITIT_LOG_LEVEL"] = level
    return submitit


def _look(job: Job, handle: Any) -> tuple[State, str]:
    if not handle.done():
        return ("waiting" if handle.state.upper() in _WAITING else "running"), ""
    error = handle.exception()
    if error is not None:
        return "failed", f"the cluster's job ended as {handle.state} ({' '.join(str(error).split())[-300:]})"
    state, fault = handle.result()
    return _look_elsewhere(job) if state == "elsewhere" else (state, fault)


def _look_elsewhere(job: Job) -> tuple[State, str]:
    with job.claimed() as descriptor:
        if descriptor is None:
            return "elsewhere", ""
        if job.done:
            return "done", ""
    # Where the nodes' locks cannot be seen from here, it may still be at it.
    return "failed", "another process was at it, and it is not done: run the same command again when that has ended"
