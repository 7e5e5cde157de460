"""Part files: what `prepare` has finished, patient by patient, so that a killed run goes on where it was.

Beside the store OUT.h5, the folder OUT.h5.parts holds one HDF5 file a patient, each with a fingerprint of all that it
was made from. When all are there they are merged into the store, and the folder goes.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import h5py

from nasoseg.data.atomic_hdf5 import AtomicHDF5
from nasoseg.data.convert import Conversion
from nasoseg.data.store import VERSION, Patient, write_header, write_patient
from nasoseg.data.studies import Study
from nasoseg.errors import NasosegError
from nasoseg.labels import Structure

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"


def parts_folder(out: Path) -> Path:
    """Return the folder of part files that belongs to a store."""
    return out.with_name(out.name + ".parts")


def fingerprint(study: Study, key: str, conversion: Conversion) -> str:
    """Hash all that a part depends on: options, layout, and each source file's size and time of change."""
    files = sorted({study.ct, *(contour.path for contour in study.contours)})
    states = [(path.name, s.st_size, s.st_mtime_ns) for path in files if path.exists() for s in [path.stat()]]
    contours = [(c.structure, c.path.name, c.values) for c in study.contours]
    options = asdict(conversion) | {"absent": sorted(conversion.absent)}
    described = [version("nasoseg"), VERSION, key, options, states, contours, study.known_values, study.ignore]
    return hashlib.sha256(json.dumps(described).encode(errors="surrogateescape")).hexdigest()


def read_part(path: Path, expected: str) -> list[str] | None:
    """Return the remarks of a finished part, None where there is no part with the expected fingerprint."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("fingerprint") == expected:
                return [str(remark) for remark in json.loads(file.attrs["remarks"])]
    except (OSError, KeyError, ValueError):
        pass  # no part, or a damaged one: made again
    return None


def write_part(path: Path, patient: Patient, remarks: Sequence[str], *, structures: int, mark: str) -> None:
    """Write one part, under its name only when it is complete.

    Raises:
        OSError: If the disk is full or not writable.
    """
    with AtomicHDF5(path, path.with_suffix(".tmp")) as new:
        write_patient(new.file.create_group(patient.key), patient, structures=structures)
        new.file.attrs["remarks"] = json.dumps(list(remarks))
        new.file.attrs["fingerprint"] = mark


def merge_parts(parts: Mapping[str, Path], out: Path, structures: Sequence[Structure]) -> None:
    """Copy finished parts, by key, into one store: complete under its final name, or not there at all.

    Raises:
        OSError: If the disk is full or not writable.
    """
    with AtomicHDF5(out, parts_folder(out) / "merged.tmp") as new:
        patients = new.file.create_group("patients")
        for key in sorted(parts):
            with h5py.File(parts[key], "r") as part:
                part.copy(part[key], patients, name=key)
            new.check()
        write_header(new.file, structures)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder of parts if need be, and hold it against a second `prepare` of the same store.

    The system lets go of the lock when the process ends, however it ends. A folder without parts does not stay.
    """
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NasosegError(
                f"{folder}: another `nasoseg prepare` is writing there: wait for it, or end it"
            ) from error
        for stale in folder.glob("*.tmp"):  # of a run that was killed
            stale.unlink()
        try:
            yield
        finally:
            if not any(folder.glob("*.h5")):
                remove_parts(folder)


def remove_parts(folder: Path) -> None:
    """Remove part files, and the folder if nothing else is in it."""
    for path in [*folder.glob("*.h5"), *folder.glob("*.tmp"), folder / _LOCK]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
