"""Make the parts of all patients, and assemble the store: the frame of every `prepare`, whatever the source."""

import errno
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasoseg.data.inventory import Inventory, take_inventory
from nasoseg.data.jobs import Job, Progress, make_parts
from nasoseg.data.parts import locked, merge_parts, parts_folder, remove_parts
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.labels import Structure


@dataclass(frozen=True)
class Assembled:
    """Say what became of the jobs.

    Attributes:
        inventory: What the store holds.
        left_out: For every patient that could not be used, why.
        notes: Remarks, those about one patient beginning with his name.
        reused: Patients that an earlier, interrupted run had finished.
    """

    inventory: Inventory
    left_out: dict[str, str]
    notes: list[str]
    reused: int


def check_arguments(out: Path, *, pixel_mm: float | None, size: int | None, workers: int | None, force: bool) -> None:
    """Check what every `prepare` takes.

    Raises:
        NasosegError: If the store exists and is not to be replaced, cannot be there, or a number is out of its range.
    """
    if out.is_dir():
        raise NasosegError(f"{out}: is a folder, expected the name of a file such as {out / 'store.h5'}")
    if out.exists() and not force:
        raise NasosegError(f"{out}: exists already: choose another name, or pass --force to replace it")
    if not out.parent.is_dir():
        raise NasosegError(f"{out}: there is no folder {out.parent}: make it first")
    if pixel_mm is not None and not 0.1 <= pixel_mm <= 20:
        raise NasosegError(f"--pixel-mm: found {pixel_mm:g}, expected 0.1 to 20 mm")
    if size is not None and not 16 <= size <= 4096:
        raise NasosegError(f"--size: found {size}, expected 16 to 4096 pixels")
    if workers is not None and not 1 <= workers <= 1024:
        raise NasosegError(f"--workers: found {workers}, expected 1 to 1024 processes")


def assemble(
    root: Path,
    out: Path,
    make_jobs: Callable[[Path], Sequence[Job]],
    structures: Sequence[Structure],
    *,
    unit: str,
    skip_bad: bool,
    workers: int | None,
    progress: Progress | None,
    before_cleaning: Callable[[Sequence[Job]], None] = lambda stored: None,
) -> Assembled:
    """Make the parts that are not there yet, and merge them into the store.

    Args:
        root: Where the patients come from, for errors.
        out: The store, complete under this name or not there at all.
        make_jobs: Makes the jobs, given the folder of their parts.
        structures: The store's structures, in the order of their bits.
        unit: What a job is called: ``patients``.
        skip_bad: Leave out patients that cannot be used, instead of failing.
        workers: Processes; None takes one a core, at most 8.
        progress: Called after every patient.
        before_cleaning: Called with the jobs whose patients are in the store, before the parts are removed.

    Raises:
        NasosegError: If any patient is bad (all patients are looked at first, and finished parts stay), or the disk is
            full. Nothing is then left under ``out``.
    """
    folder = parts_folder(out)
    left_out: dict[str, str] = {}
    remarks: dict[str, list[str]] = {}
    try:
        with locked(folder):
            jobs = make_jobs(folder)
            reused = make_parts(jobs, remarks, left_out, workers, progress)
            if left_out and not skip_bad:
                raise NasosegError(_worded(left_out, len(jobs), unit))
            if not remarks:
                raise NasosegError(f"{root}: no patient can be used:\n{listed(left_out)}")
            stored = [job for job in jobs if job.name in remarks]
            merge_parts({job.key: job.part for job in stored}, out, structures)
            before_cleaning(stored)
            remove_parts(folder)
    except OSError as error:
        raise _unwritable(out, folder, error) from error
    with Store(out) as store:
        inventory = take_inventory(store)
    notes = [f"{name}: {remark}" for name in sorted(remarks) for remark in remarks[name]]
    notes += [f"{s.name}: annotated in no patient of the store" for s in inventory.structures if not s.annotated]
    return Assembled(inventory, left_out, notes, reused)


def listed(left_out: Mapping[str, str], most: int = 10) -> str:
    """Return a line for each of the first patients, with the reason."""
    lines = [f"  {name}: {left_out[name]}" for name in sorted(left_out)[:most]]
    if len(left_out) > most:
        lines.append(f"  and {len(left_out) - most} more")
    return "\n".join(lines)


def _worded(left_out: Mapping[str, str], number: int, unit: str) -> str:
    return (
        f"{len(left_out)} of {number} {unit} cannot be used:\n{listed(left_out)}\n"
        "Mend or remove them and run again (the others are finished and kept), or pass --skip-bad to leave them out."
    )


def _unwritable(out: Path, folder: Path, error: OSError) -> NasosegError:
    free_mb = shutil.disk_usage(out.parent).free / 1e6
    # HDF5 reports a full disk in a text without an error number
    full = error.errno == errno.ENOSPC or "No space left" in str(error) or f"errno = {errno.ENOSPC}" in str(error)
    found = f"the disk is full ({free_mb:.1f} MB free)" if full else " ".join(str(error).split())[-300:]
    return NasosegError(
        f"{out}: could not be written: {found}. Nothing was left under that name; free space (the store is written once"
        f" in parts and once whole) or choose another folder, and run again: finished patients are kept in {folder}"
    )
