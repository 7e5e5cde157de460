"""Files and folders that are whole or not there, and those that are there to be seen."""

import os
import platform
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # of a folder that several machines share, without its name


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; it gets its final name when the block ends well.

    The bytes are on the disk before the name is given, and the temporary file is gone whatever happens; one that a
    killed process of this machine left is removed by the next to write there. It keeps the ending of ``path``, which
    some writers go by.
    """
    path = Path(path)
    _remove_leftovers(path)
    temporary = path.with_name(f".{_HOST}-{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a new, hidden folder beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    The hidden folder is gone whatever happens; one that a killed process left is removed by the next to write there.
    What ``path`` held before is moved aside and then removed: no half of it is ever under the name.
    """
    path = Path(path)
    temporary, old = path.with_name(f".tmp.{path.name}"), path.with_name(f".old.{path.name}")
    _remove(temporary)
    _remove(old)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        _remove(old)
    finally:
        _remove(temporary)


def visible(folder: Path) -> list[Path]:
    """List what a folder holds and does not hide, sorted.

    Hidden is what a killed process left (``whole_file``), and what macOS notes beside files (``._ct.nii.gz``).
    """
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of ``path`` whose process has ended: another that writes there now keeps its own."""
    if os.name != "posix":  # elsewhere a process cannot be asked without ending it
        return
    begins, ends = f".{_HOST}-", f".tmp.{path.name}"
    with suppress(OSError):  # what cannot be listed or removed stays, and hinders no one
        for name in os.listdir(path.parent):
            process = name.removeprefix(begins).removesuffix(ends)
            if name == f"{begins}{process}{ends}" and process.isdecimal() and not _runs(int(process)):
                path.with_name(name).unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; a name that nobody gave
        pass
    return True


def _remove(path: Path) -> None:
    """Remove a folder, or a link to one: what it leads to stays."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
