"""Writing an HDF5 file that is complete under its name, or not there; a disk that fills up harms nothing else."""

import io
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import h5py

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

LIBVER = ("v110", "v110")  # the first HDF5 format whose metadata carry checksums; read since 2017


class AtomicHDF5:
    """Write an HDF5 file under a temporary name; give it its own when it is closed without an error.

    HDF5 cannot close a file that it cannot flush: after a full disk it keeps the file open, h5py prints a traceback
    for every object in it, and the process may crash later. So HDF5 writes through ``_Disk``, which keeps the disk's
    error for us and tells HDF5 that all is well.

    Args:
        path: Name of the finished file.
        temporary: Name until then, on the same file system; removed in any case.

    Attributes:
        file: The open file.

    Raises:
        OSError: On entry, ``check`` or exit, if the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path = path
        self.temporary = temporary

    def check(self) -> None:
        """Raise the error that the disk has given meanwhile: call it now and then, so as to stop soon."""
        if self._disk.error is not None:
            raise self._disk.error

    def __enter__(self) -> Self:
        raw = io.FileIO(self.temporary, "w+")
        try:
            self._disk = _Disk(raw)
            self.file = h5py.File(self._disk, "w", libver=LIBVER)
        except BaseException:
            raw.close()
            self.temporary.unlink(missing_ok=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                self.file.close()
            finally:
                if error is None:
                    self.check()
            if error is None:
                os.fsync(self._disk.raw.fileno())
                self._disk.raw.close()
                self.temporary.replace(self.path)
        finally:
            self._disk.raw.close()
            self.temporary.unlink(missing_ok=True)


class _Disk(io.RawIOBase):
    """A file for h5py's ``fileobj`` driver, whose writing never fails; what is lost is remembered as ``error``."""

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as in the file."""
        return self.raw.seek(offset, whence)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill ``buffer``, with zeros where the file has nothing."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            read = self.raw.readinto(view[done:])
            if not read:
                view[done:] = bytes(len(view) - done)
                break
            done += read
        return len(view)

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of ``data``, or remember why not."""
        view = memoryview(data).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += self.raw.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length, or remember why not."""
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def flush(self) -> None:
        """Do nothing: the file has no buffer."""
