"""The work of `prepare`, patient by patient, in several processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nasoseg.cores import usable_cores
from nasoseg.data.convert import Conversion
from nasoseg.data.parts import read_part, write_part
from nasoseg.data.store import Patient
from nasoseg.errors import NasosegError

Progress = Callable[[str, int, int], None]
"""Called with the patient that has just been finished, the number finished, and the number of all."""

_MOST_WORKERS = 8  # each holds a whole scan; more of them wait for the disk


class Source(Protocol):
    """Where one patient comes from, whatever kind of files; it travels to the workers."""

    def state(self) -> list[Any]:
        """Return all that the patient is made from, as JSON can hold it, for the part's fingerprint."""

    def convert(self, key: str, conversion: Conversion) -> tuple[Patient, list[str]]:
        """Return the patient, and remarks for the summary; a file that cannot be used raises a NasosegError."""


@dataclass(frozen=True)
class Job:
    """Hold one patient's work.

    Attributes:
        name: What the progress bar and the summary call him.
        source: His files.
        key: His key in the store.
        conversion: How to convert them.
        part: The part file to make.
        mark: Its fingerprint.
    """

    name: str
    source: Source
    key: str
    conversion: Conversion
    part: Path
    mark: str


def make_parts(
    jobs: Sequence[Job],
    remarks: dict[str, list[str]],
    left_out: dict[str, str],
    workers: int | None,
    progress: Progress | None,
) -> int:
    """Make the parts that are not there yet.

    Args:
        jobs: One for every patient.
        remarks: Filled: for every patient whose part is there, remarks for the summary.
        left_out: Filled: for every patient that cannot be used, why.
        workers: Processes; None takes one a core, at most 8.
        progress: Called after every patient.

    Returns:
        How many parts were there already.

    Raises:
        NasosegError: If a worker died.
        OSError: If the disk is full.
    """
    open_jobs = []
    for job in jobs:
        before = read_part(job.part, job.mark)
        if before is None:
            open_jobs.append(job)
        else:
            remarks[job.name] = before
    reused = done = len(remarks)
    if reused and progress:
        progress("finished before", done, len(jobs))
    for name, found in _results(open_jobs, workers or min(_MOST_WORKERS, usable_cores())):
        if isinstance(found, str):
            left_out[name] = found
        else:
            remarks[name] = found
        done += 1
        if progress:
            progress(name, done, len(jobs))
    return reused


def _results(jobs: Sequence[Job], workers: int) -> Iterator[tuple[str, list[str] | str]]:
    """Yield each patient's name with his remarks, or with the fault as text, as they are finished."""
    if workers == 1 or len(jobs) < 2:
        yield from ((job.name, _make_part(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # HDF5 and its threads must not cross a fork
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_begin_worker)
    try:
        waiting = {pool.submit(_make_part, job): job.name for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except BrokenProcessPool as error:
        raise NasosegError(
            "prepare: a worker process ended without a word, perhaps for want of memory: pass fewer --workers; a script"
            ' that calls prepare_nifti or prepare_dicom needs `if __name__ == "__main__":`. Finished patients are kept'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end this worker when the parent has gone: it would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _make_part(job: Job) -> list[str] | str:
    """Convert one study and write its part; return remarks, or the fault.

    Raises:
        OSError: If the disk is full: that is no fault of the patient's.
    """
    try:
        patient, remarks = job.source.convert(job.key, job.conversion)
    except NasosegError as error:
        return str(error)
    except MemoryError:
        return "its scan does not fit into memory: pass fewer --workers, or larger --pixel-mm"
    write_part(job.part, patient, remarks, structures=len(job.conversion.structures), mark=job.mark)
    return remarks
