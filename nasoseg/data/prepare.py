"""Folders of studies, or an export of DICOM files -> one slice store."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasoseg import labels
from nasoseg.data.assembly import assemble, check_arguments
from nasoseg.data.convert import Conversion
from nasoseg.data.inventory import Inventory
from nasoseg.data.jobs import Job, Progress, Source
from nasoseg.data.key_table import KeyRow, check_key_table, write_key_table
from nasoseg.data.nifti_patient import NiftiPatient
from nasoseg.data.parts import fingerprint, secret_file
from nasoseg.data.pseudonyms import check_name, make_keys
from nasoseg.data.studies import Studies, find_studies
from nasoseg.errors import NasosegError, nearest
from nasoseg.structure_map import load_structure_map
from nasoseg.volumes.dicom_archive import opened


@dataclass(frozen=True)
class Summary:
    """Say what became of the studies.

    Attributes:
        inventory: What the store holds.
        left_out: For every patient that was left out, why; from DICOM also for scans and contour files.
        notes: Remarks, those about one patient beginning with his name.
        reused: Patients that an earlier, interrupted run had finished.
        pseudonymous: Whether keys are pseudonyms; otherwise they are the names of the folders or cases.
        secret_kept: Whether the secret of the pseudonyms is in a file; otherwise it was thrown away.
        unit: What ``left_out`` counts.
    """

    inventory: Inventory
    left_out: dict[str, str]
    notes: list[str]
    reused: int
    pseudonymous: bool
    secret_kept: bool = True
    unit: str = "patients"


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
    check_arguments(out, pixel_mm=pixel_mm, size=size, workers=workers, force=force)
    studies = find_studies(root, rename=rename)
    names = choose_structures(studies, structures, where=str(root))
    absent = [labels.composed(name) for name in absent]
    _check_absent(absent, names)
    conversion = Conversion(tuple(names), frozenset(absent), pixel_mm, size)
    keys = make_keys([study.name for study in studies.found], Path(pseudonym_key) if pseudonym_key else None)
    done = assemble(
        root,
        out,
        lambda folder: [_job(s.name, NiftiPatient(s), keys[s.name], conversion, folder) for s in studies.found],
        [labels.structure(name) for name in names],
        unit="patients",
        skip_bad=skip_bad,
        workers=workers,
        progress=progress,
    )
    notes = [*studies.notes, *done.notes]
    return Summary(done.inventory, done.left_out, notes, done.reused, pseudonym_key is not None)


def prepare_dicom(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    structures: str | os.PathLike[str] | None = None,
    only: Sequence[str] = (),
    absent: Collection[str] = (),
    series: Collection[str] = (),
    resample: bool = False,
    pixel_mm: float | None = None,
    size: int | None = None,
    workers: int | None = None,
    force: bool = False,
    skip_bad: bool = False,
    pseudonym_key: str | os.PathLike[str] | None = None,
    key_table: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Prepare a store from an export of DICOM files: CTs with the RTSTRUCT or DICOM SEG drawn on them.

    Every CT that contours belong to (``dicom_pairing``) is one patient of the store, a patient's several CTs are
    several. Contour files of one CT are taken together; a structure that two of them draw differently is a fault.
    Keys are pseudonyms, and neither the store nor its parts hold a name, an ID, a UID or a path. A run that was
    interrupted goes on where it was. With more than one worker, a script must call this under
    ``if __name__ == "__main__":``, as the workers import it.

    Args:
        root: A folder, as deep as it may be, or a zip, which is unpacked for as long as this runs.
        out: The store, complete under this name or not there at all.
        structures: The structures file that says what the names of ROIs mean (``load_structure_map``); None: the
            shipped one.
        only: Structures to take, in this order, or the name of one of the file's sets; none takes all that occur, in
            the order of the preset that knows them all, else by alphabet.
        absent: Structures for which no or an empty ROI means annotated and empty, not unannotated.
        series: SeriesInstanceUIDs of CTs or contours to take where their patient or CT has others too.
        resample: Put tilted or unevenly spaced slices onto a straight grid instead of refusing them.
        pixel_mm: Side of a square stored pixel, 0.1 to 20; None keeps the scan's.
        size: Rows and columns of the stored plane, 16 to 4096; see ``resample.stored_grid``.
        workers: Processes; None takes one a core, at most 8. 1 works in this process.
        force: Replace ``out`` and ``key_table`` if they exist.
        skip_bad: Leave out scans that cannot be used, instead of failing.
        pseudonym_key: File with the secret of the pseudonyms, made if absent; None: one is made for this store, kept
            with the parts and thrown away when the store is complete.
        key_table: Table to write that leads back from the keys to PatientID and UIDs.
        progress: Called after every file whose names were read, then after every scan.

    Raises:
        NasosegError: If an argument or any scan is bad (all scans are looked at first, and finished parts stay),
            nothing has contours, ``out`` or ``key_table`` exists, or the disk is full. Nothing is then left under
            ``out``, unless ``key_table`` alone could not be written.
    """
    from nasoseg.data.dicom_keys import make_dicom_keys  # pydicom loads slowly
    from nasoseg.data.dicom_studies import find_dicom_studies
    from nasoseg.data.dicom_wording import check_found, dicom_notes

    root, out = Path(root), Path(out)
    check_arguments(out, pixel_mm=pixel_mm, size=size, workers=workers, force=force)
    table = Path(key_table) if key_table else None
    check_key_table(table, force=force)
    structure_map = load_structure_map(structures)
    if only:
        structure_map = structure_map.take(only[0] if len(only) == 1 and only[0] in structure_map.sets else only)
    with opened(root) as folder:
        status = root.stat()
        studies = find_dicom_studies(
            folder,
            structure_map,
            series=series,
            resample=resample,
            bare=bool(absent),
            archive=() if folder == root else (status.st_size, status.st_mtime_ns),
            progress=progress,
        )
        taken = [structure.name for structure in structure_map.structures()] if only else sorted(studies.structures)
        names = taken if only else _ordered(taken)
        check_found(studies, names, root)
        _check_absent(absent, names)
        conversion = Conversion(tuple(names), frozenset(absent), pixel_mm, size)

        found: dict[str, KeyRow] = {}
        left_out: dict[str, str] = {}

        def make_jobs(parts: Path) -> list[Job]:
            keys = make_dicom_keys(studies, Path(pseudonym_key) if pseudonym_key else secret_file(parts))
            found.update((row.key, row) for row in keys.rows)
            left_out.update(keys.left_out)
            return [_job(key, one, key, conversion, parts) for key, one in zip(found, studies.found, strict=True)]

        done = assemble(
            root,
            out,
            make_jobs,
            structure_map.structures(names),
            unit="CT scans",
            skip_bad=skip_bad,
            workers=workers,
            progress=progress,
            before_cleaning=lambda stored: write_key_table(table, [found[job.key] for job in stored]),
        )
        left_out |= done.left_out
        left_out = {name: why.replace(str(folder), str(root)) for name, why in left_out.items()}
    notes = [*studies.notes, *dicom_notes(studies, found, root), *done.notes]
    kept = pseudonym_key is not None
    return Summary(done.inventory, left_out, notes, done.reused, True, kept, "scans and contour files")


def _job(name: str, source: Source, key: str, conversion: Conversion, folder: Path) -> Job:
    return Job(name, source, key, conversion, folder / f"{key}.h5", fingerprint(source.state(), key, conversion))


def _check_absent(absent: Collection[str], names: Sequence[str]) -> None:
    unknown = [name for name in absent if name not in names]
    if unknown:
        raise NasosegError(f"--absent: the store has no structure {unknown[0]!r}: {nearest(unknown[0], names)}")


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
