"""What holds the DICOM files: a folder, one file, or a zip that is unpacked safely for as long as it is needed."""

import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nasoseg.errors import NasosegError

MOST_FILES = 200_000
"""A zip with more files is refused: a hundred patients with ten series each have about that many."""

MOST_BYTES = 64 * 2**30
"""A zip that unpacks to more is refused."""

_MOST_INFLATION = 100  # CT shrinks two- to threefold, an empty dose grid a hundredfold
_SMALL = 256 * 2**20  # below this a zip may shrink as it likes: it harms nobody


@contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """Give what to read: ``path`` itself, or the folder that a zip was unpacked to, gone when the block ends.

    An error that the block raises about an unpacked file names it as ``export.zip/inner/name``.

    Raises:
        NasosegError: If ``path`` is missing; or the zip is damaged or encrypted, holds a link, a name that leads out
            of the folder or two files of one name, too many files or bytes, or shrank as only a bomb does.
    """
    path = Path(path)
    if not path.exists():
        raise NasosegError(f"{path}: no such file or folder, expected a folder or zip of DICOM files")
    if path.is_dir() or not zipfile.is_zipfile(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="nasoseg-") as folder:
        _unpack(path, Path(folder))
        with named_as(Path(folder), path):
            yield Path(folder)


@contextmanager
def unpacked(zips: Sequence[Path], beside: Path) -> Iterator[Path]:
    """Give a folder that zips were unpacked to, each to a folder of its own name; gone when the block ends.

    An error that the block raises about an unpacked file names it as if the folder were ``beside``, where the zips
    lie: ``exports/patient_7.zip/inner/name``.

    Raises:
        NasosegError: As ``opened``.
    """
    with tempfile.TemporaryDirectory(prefix="nasoseg-") as folder:
        for path in zips:
            target = Path(folder, path.name)
            target.mkdir()
            _unpack(path, target)
        with named_as(Path(folder), beside):
            yield Path(folder)


@contextmanager
def named_as(folder: Path, given: Path) -> Iterator[None]:
    """Let the errors of the block name ``given`` where they say ``folder``, which the user never saw."""
    try:
        yield
    except NasosegError as error:
        if folder == given:
            raise
        raise NasosegError(str(error).replace(str(folder), str(given))) from error


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.filename.endswith("/")]
            _check(path, files, folder)
            for info in files:
                target = folder.joinpath(*_parts(info))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file)
    except FileExistsError as error:
        raise NasosegError(
            f"{path}: holds two files of one name ({Path(str(error.filename)).name}), expected different names: unpack"
            " it yourself and look at both"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, UnicodeDecodeError) as error:
        raise NasosegError(
            f"{path}: cannot be unpacked ({' '.join(str(error).split())[-200:]}): expected a whole zip and room for it"
            f" in {folder.parent}: copy it again, or unpack it yourself and name the folder"
        ) from error


def _check(path: Path, files: list[zipfile.ZipInfo], folder: Path) -> None:
    for info in files:
        parts = _parts(info)
        leads_out = not parts or ".." in parts or info.filename.startswith(("/", "\\")) or ":" in parts[0]
        if leads_out or stat.S_ISLNK(info.external_attr >> 16):
            raise NasosegError(
                f"{path}: holds {info.filename[:200]!r}, a link or a name that leads out of the folder, expected plain"
                " files below it: do not trust this archive"
            )
        if info.flag_bits & 1:
            raise NasosegError(f"{path}: is encrypted, expected a plain zip: unpack it and name the folder")
    total, packed = sum(info.file_size for info in files), path.stat().st_size
    if len(files) > MOST_FILES or total > MOST_BYTES or (total > _SMALL and total > _MOST_INFLATION * packed):
        raise NasosegError(
            f"{path}: {len(files)} files of {total} bytes in a zip of {packed} bytes, expected at most {MOST_FILES}"
            f" files, {MOST_BYTES} bytes and {_MOST_INFLATION} times the zip's size: if you trust it, unpack it and"
            " name the folder"
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise NasosegError(
            f"{path}: unpacks to {total} bytes, but {folder.parent} has {free} bytes free: free some, or set TMPDIR to"
            " a larger disk"
        )


def _parts(info: zipfile.ZipInfo) -> list[str]:
    """Split a member's name, at both kinds of slash: some writers use Windows' own."""
    return [part for part in re.split(r"[/\\]", info.filename) if part not in ("", ".")]
