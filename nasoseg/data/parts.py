"""Part files: what `prepare` has finished, patient by patient, so that a killed run goes on where it was.

Beside the store OUT.h5, the folder OUT.h5.parts holds one HDF5 file a patient, each with a fingerprint of all that it
was made from, and the secret of the pseudonyms where no other file was named for it. When all parts are there they are
merged into the store, and the folder goes.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py

from nasoseg.data.atomic_hdf5 import AtomicHDF5
from nasoseg.data.convert import Conversion
from nasoseg.data.store import VERSION, Patient, write_header, write_patient
from nasoseg.errors import NasosegError
from nasoseg.labels import Structure
from nasoseg.locks import file_lock

_LOCK = "lock"
_SECRET = "secret"


def parts_folder(out: Path) -> Path:
    """Return the folder of part files that belongs to a store."""
    return out.with_name(out.name + ".parts")


def secret_file(folder: Path) -> Path:
    """Return where the secret of pseudonyms lies whose user named no file: it goes with the parts."""
    return folder / _SECRET


def fingerprint(state: Sequence[Any], key: str, conversion: Conversion) -> str:
    """Hash all that a part depends on: the options, and the state of what it is made from (``jobs.Source``)."""
    options = asdict(conversion) | {"absent": sorted(conversion.absent)}
    described = [version("nasoseg"), VERSION, key, options, state]
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
    with file_lock(folder / _LOCK) as held:
        if held is None:
            raise NasosegError(f"{folder}: another `nasoseg prepare` is writing there: wait for it, or end it")
        for stale in folder.glob("*.tmp"):  # of a run that was killed
            stale.unlink()
        try:
            yield
        finally:
            if not any(folder.glob("*.h5")):
                remove_parts(folder)


def remove_parts(folder: Path) -> None:
    """Remove part files and the secret, and the folder if nothing else is in it."""
    for path in [*folder.glob("*.h5"), *folder.glob("*.tmp"), secret_file(folder), folder / _LOCK]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
