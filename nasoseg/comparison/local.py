"""Run jobs on this machine, some at once."""

import os
import time
from collections.abc import Callable, Sequence

import torch

from nasoseg.comparison.board import Board
from nasoseg.comparison.jobs import Job
from nasoseg.comparison.work import Work
from nasoseg.cores import usable_cores

_SECONDS_BETWEEN_LOOKS = 1.0


def run_local(
    jobs: Sequence[Job], board: Board, *, at_once: int, score: Callable[[Job], float | None]
) -> dict[str, str]:
    """Run jobs as processes of their own, ``at_once`` of them together.

    A job that fails is reported and the others go on. On Ctrl-C the running ones are stopped so that they can be
    resumed.

    Args:
        jobs: What is to be run, in order; jobs that are done are passed over.
        board: Where their state is shown.
        at_once: How many run together. Each gets its share of the cores, and the GPUs in turn.
        score: Gives the score of a job that is done.

    Returns:
        Job name -> why it failed.
    """
    waiting = list(jobs)
    working: dict[int, Work] = {}
    faults: dict[str, str] = {}
    try:
        while waiting or working:
            for slot in range(at_once):
                if waiting and slot not in working:
                    work = Work(waiting.pop(0), environment=_environment(slot, at_once))
                    working[slot] = work
                    work.start()
            for slot, work in list(working.items()):
                state = work.poll()
                board.update(
                    work.job, state, progress=work.progress(), score=score(work.job) if state == "done" else None
                )
                if state == "failed":
                    faults[work.job.name] = f"{work.fault} (log: {work.job.log})"
                if state in ("done", "failed"):
                    del working[slot]
            time.sleep(_SECONDS_BETWEEN_LOOKS if working else 0.0)
    finally:
        for work in working.values():
            work.stop()
            board.update(work.job, work.state)
    return faults


def _environment(slot: int, at_once: int) -> dict[str, str]:
    result = {}
    if "OMP_NUM_THREADS" not in os.environ:
        result["OMP_NUM_THREADS"] = str(max(1, usable_cores() // at_once))
    gpus = torch.cuda.device_count()
    if gpus > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        result["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    return result
