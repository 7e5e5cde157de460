"""A lock that one process at a time holds."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def file_lock(path: Path) -> Iterator[int | None]:
    """Hold a lock file, which is made if need be with its folder, or yield None where another process holds it.

    What is started with the yielded descriptor holds the lock too. The system lets go of it when the last of them has
    ended, however it ended. Windows has no such lock: there nothing is held, and the descriptor is yielded always.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor if _taken(descriptor) else None
    finally:
        os.close(descriptor)


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file as soon as no other process does; it is gone afterwards.

    Where there are no such locks, on Windows and some shared disks, nothing is held.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        with path.open("ab") as file:
            if _waited(file.fileno()) and not _is_called(file.fileno(), path):
                continue  # who held it has removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def own_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file that no child process holds too; yield False where another process holds it.

    The system lets go of it when this process ends, however it ends, though its workers may live on for a moment. The
    file is gone afterwards. Where there are no such locks, on Windows and some shared disks, nothing is held.
    """
    if sys.platform == "win32":
        yield True
        return
    while True:
        with path.open("ab") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    yield False
                    return
                if error.errno not in _NO_LOCKS:
                    raise
            if not _is_called(file.fileno(), path):
                continue  # who held it has removed it
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


def _waited(descriptor: int) -> bool:
    """Wait for a lock; tell whether the disk has such locks."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
    return True


def _is_called(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _taken(descriptor: int) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
