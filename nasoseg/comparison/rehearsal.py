"""The dry run: one batch of every job, method by method, before hours are spent."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasoseg.comparison.jobs import Job
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.progress import ProgressDisplay

_MODULE = "nasoseg.cli.rehearsal"  # run as a process: what a broken method breaks is its own


def rehearse(jobs: Sequence[Job], *, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Try one batch of every job that is not done, and write its resolved config beside its run folder.

    A process a method, which tries all its folds. What a network costs is written into ``cost.json`` beside the folds.
    A run that was begun with another config is a fault. Of nnU-Net's jobs this and the options are all that is tried.

    Args:
        jobs: The jobs.
        environment: Variables of the processes.

    Returns:
        Job name -> what is wrong with it, for the jobs that cannot run.
    """
    faults: dict[str, str] = {}
    done = 0
    with ProgressDisplay("trying one batch of every job") as progress:
        for method in dict.fromkeys(job.method for job in jobs):
            mine = [job for job in jobs if job.method == method]
            found = _try(mine, environment)
            for job in mine:
                done += 1
                progress(job.name, done, len(jobs))
                result = found.get(job.name, {"error": found["died"], "cost": None})
                if result["error"] is not None:
                    faults[job.name] = str(result["error"])
                elif result["cost"] is not None:
                    with whole_file(job.run.with_name("cost.json")) as temporary:
                        temporary.write_text(json.dumps(result["cost"], indent=1) + "\n", encoding="utf-8")
    return faults


def read_cost(job: Job) -> dict[str, float] | None:
    """Return what the rehearsal found a job's network to cost: parameters, gflop and the image it counted on."""
    path = job.run.with_name("cost.json")
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(cost[name]) for name in ("parameters", "gflop", "channels", "rows", "columns")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise NasosegError(f"{path}: cannot be read ({error}): remove it, and run the benchmark again") from error


def _try(jobs: Sequence[Job], environment: dict[str, str] | None) -> dict[str, Any]:
    """Try the jobs of one method; ``died`` says what happened where a job has no result of its own."""
    for job in jobs:
        job.run.parent.mkdir(parents=True, exist_ok=True)
    listed = [
        {
            "name": job.name,
            "arguments": job.arguments,
            "config": str(job.config),
            "only_parse": job.done,
            "nnunet": job.nnunet,
        }
        for job in jobs
    ]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "jobs.json"
        file.write_text(json.dumps(listed), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", _MODULE, str(file)],
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    results: dict[str, Any] = {}
    for line in ended.stdout.splitlines():
        try:
            result = json.loads(line)
            results[result["name"]] = result
        except (ValueError, KeyError, TypeError):
            continue  # what a user's class prints
    said = " ".join(ended.stderr.split())[-300:] or "without a word"
    results["died"] = f"the process of the dry run ended with code {ended.returncode} ({said})"
    return results
