"""Folders of studies -> one slice store: several processes, one part file a patient, merged when all are there."""

import errno
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasoseg import labels
from nasoseg.data.convert import Conversion
from nasoseg.data.inventory import Inventory, take_inventory
from nasoseg.data.jobs import Job, Progress, make_parts
from nasoseg.data.parts import fingerprint, locked, merge_parts, parts_folder, remove_parts
from nasoseg.data.pseudonyms import check_name, make_keys
from nasoseg.data.store import Store
from nasoseg.data.studies import Studies, find_studies
from nasoseg.errors import NasosegError, nearest


@dataclass(frozen=True)
class Summary:
    """Say what became of the studies.

    Attributes:
        inventory: What the store holds.
        left_out: For every patient that was left out, why.
        notes: Remarks, those about one patient beginning with his name.
        reused: Patients that an earlier, interrupted run had finished.
        pseudonymous: Whether keys are pseudonyms; otherwise they are the names of the folders or cases.
    """

    inventory: Inventory
    left_out: dict[str, str]
    notes: list[str]
    reused: int
    pseudonymous: bool


def prepare_nifti(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    absent: Collection[str] = (),
    structures: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    pixel_mm: float | None = None,
    size: int | None = None,
    workers: int | None = None,
    force: bool = False,
    skip_bad: bool = False,
    pseudonym_key: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Prepare a store from folders of NIfTI, NRRD or MetaImage files (layouts: ``studies``).

    A run that was interrupted goes on where it was. With more than one worker, a script must call this under
    ``if __name__ == "__main__":``, as the workers import it.

    Args:
        root: The folder of the studies.
        out: The store, complete under this name or not there at all.
        absent: Structures for which a missing or empty mask means annotated and empty, not unannotated.
        structures: Structures to take, in this order; None takes all, in the order of the preset that knows them
            all (OpenKBP's, then the paper's), else by alphabet.
        rename: Other names for structures, by the name in the files.
        pixel_mm: Side of a square stored pixel, 0.1 to 20; None keeps the scan's.
        size: Rows and columns of the stored plane, 16 to 4096; see ``resample.stored_grid``.
        workers: Processes; None takes one a core, at most 8. 1 works in this process.
        force: Replace ``out`` if it exists.
        skip_bad: Leave out patients that cannot be used, instead of failing.
        pseudonym_key: File with a secret, made if absent; None keeps the names as keys.
        progress: Called after every patient.

    Raises:
        NasosegError: If an argument or any patient is bad (all patients are looked at first, and finished parts
            stay), ``out`` exists, or the disk is full. Nothing is then left under ``out``.
    """
    root, out = Path(root), Path(out)
    _check_arguments(out, pixel_mm=pixel_mm, size=size, workers=workers, force=force)
    studies = find_studies(root, rename=rename)
    names = choose_structures(studies, structures, where=str(root))
    unknown = [name for name in absent if name not in names]
    if unknown:
        raise NasosegError(f"--absent: the store has no structure {unknown[0]!r}: {nearest(unknown[0], names)}")
    conversion = Conversion(tuple(names), frozenset(absent), pixel_mm, size)
    keys = make_keys([study.name for study in studies.found], Path(pseudonym_key) if pseudonym_key else None)
    folder = parts_folder(out)
    left_out: dict[str, str] = {}
    remarks: dict[str, list[str]] = {}
    try:
        with locked(folder):
            jobs = [
                Job(study, key, conversion, folder / f"{key}.h5", fingerprint(study, key, conversion))
                for study in studies.found
                for key in [keys[study.name]]
            ]
            reused = make_parts(jobs, remarks, left_out, workers, progress)
            if left_out and not skip_bad:
                raise NasosegError(_worded(left_out, len(jobs)))
            if not remarks:
                raise NasosegError(f"{root}: no patient can be used:\n{_listed(left_out)}")
            done = {job.key: job.part for job in jobs if job.study.name in remarks}
            merge_parts(done, out, [labels.structure(name) for name in names])
            remove_parts(folder)
    except OSError as error:
        raise _unwritable(out, folder, error) from error
    with Store(out) as store:
        inventory = take_inventory(store)
    notes = [*studies.notes, *(f"{name}: {remark}" for name in sorted(remarks) for remark in remarks[name])]
    notes += [f"{s.name}: annotated in no patient of the store" for s in inventory.structures if not s.annotated]
    return Summary(inventory, left_out, notes, reused, pseudonym_key is not None)


def _check_arguments(out: Path, *, pixel_mm: float | None, size: int | None, workers: int | None, force: bool) -> None:
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


def choose_structures(studies: Studies, wanted: Sequence[str] | None, *, where: str) -> list[str]:
    """Choose the structures of a store, in the order of its bits.

    Raises:
        NasosegError: If a structure is spelled in two ways, does not occur, or has a name that cannot be a file's.
    """
    places: dict[str, str] = {}
    for study in studies.found:
        for contour in study.contours:
            places.setdefault(contour.structure, f"{study.name}/{contour.path.name}")
    if not places:
        raise NasosegError(f"{where}: no patient has a structure: expected masks in <patient>/segmentations")
    labels.check_spellings(sorted(places.items()))
    if wanted is not None:
        found = sorted(places)
        names = [found[i] for i in labels.positions(labels.names(wanted), found, where=where)]
    else:
        names = _ordered(list(places))
    for name in names:
        check_name(name, what="structure", remedy="rename the file, or pass --rename 'OLD=NEW'")
    return names


def _ordered(names: list[str]) -> list[str]:
    for preset in (labels.OPENKBP, labels.PAPER):
        rank = {labels.identity(structure.name): i for i, structure in enumerate(preset)}
        if all(labels.identity(name) in rank for name in names):
            return sorted(names, key=lambda name: rank[labels.identity(name)])
    return sorted(names, key=lambda name: (name.casefold(), name))


def _listed(left_out: Mapping[str, str], most: int = 10) -> str:
    lines = [f"  {name}: {left_out[name]}" for name in sorted(left_out)[:most]]
    if len(left_out) > most:
        lines.append(f"  and {len(left_out) - most} more")
    return "\n".join(lines)


def _worded(left_out: Mapping[str, str], patients: int) -> str:
    return (
        f"{len(left_out)} of {patients} patients cannot be used:\n{_listed(left_out)}\n"
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
