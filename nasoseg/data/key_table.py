"""The table that leads back from the pseudonyms of a store to patients: a file of its own, for its owner alone."""

import csv
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file

_HEADER = ("pseudonym", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class KeyRow:
    """Say which scan a key stands for; in the order of the table's columns."""

    key: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str


def check_key_table(path: Path | None, *, force: bool) -> None:
    """Check, before hours of work, that the table can be written, if there is to be one.

    Raises:
        NasosegError: If it exists and is not to be replaced, or its folder is not there.
    """
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise NasosegError(f"--key-table {path}: expected the name of a file in a folder that exists: name another")
    if path.exists() and not force:
        raise NasosegError(
            f"--key-table {path}: exists already, and may be the only way back to the patients of another store: choose"
            " another name, or pass --force to replace it"
        )


def write_key_table(path: Path | None, rows: Iterable[KeyRow]) -> None:
    """Write the table as CSV, readable by its owner alone from the first byte on; nothing where there is no path.

    Raises:
        NasosegError: If it cannot be written.
    """
    if path is None:
        return
    try:
        with whole_file(path) as temporary:
            temporary.unlink(missing_ok=True)  # of a process that was killed
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                csv.writer(file).writerows([_HEADER, *(astuple(row) for row in rows)])
    except OSError as error:
        raise NasosegError(
            f"--key-table {path}: could not be written ({error.strerror}). The store is complete; the patients are kept"
            " beside it, so that the same command with --force and another --key-table takes no time"
        ) from error
