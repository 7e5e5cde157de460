"""Faults that lie with a disk or its permissions, not with what a file holds; imports nothing heavy."""

import errno
from typing import TypeGuard

_DISK = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EIO", "ESTALE")
    if hasattr(errno, name)  # not all of them on Windows
)


def is_disk_error(error: BaseException) -> TypeGuard[OSError]:
    """Tell whether a file could not be read or written for a reason that lies with the disk, not with its content."""
    return isinstance(error, OSError) and error.errno in _DISK


def word_disk_error(error: OSError) -> str:
    """Say what could not be read or written, and what to do."""
    return (
        f"{error.filename or 'a disk, or /dev/shm'}: {error.strerror}: expected files and folders that this user can"
        " read and write to the end: free disk space, or mend the folder"
    )
