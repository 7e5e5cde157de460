"""What a run raised, on one screen."""

import errno

import torch

from nasoseg.cli.disk_errors import is_disk_error, word_disk_error
from nasoseg.errors import NasosegError
from nasoseg.tasks.memory import is_out_of_memory


def own_error(error: BaseException | None) -> NasosegError | None:
    """Find our own error among the causes of one that a library raised."""
    while error is not None and not isinstance(error, NasosegError):
        error = error.__cause__ or error.__context__
    return error


def word_error(error: BaseException, *, trains: bool) -> str:
    """Word whatever a run raised on one screen: our own message, or the library's with its type.

    Args:
        error: What was raised.
        trains: Whether something was trained, with which the user can go on.
    """
    kept = " What was trained is kept: resume with --ckpt_path last" if trains else ""
    if (ours := own_error(error)) is not None:
        return str(ours)
    if is_out_of_memory(error):
        return (
            f"out of memory ({one_screen(error)[:200]}): pass a smaller data.batch_size or augmentation crop, fewer"
            " data.workers, or --trainer.precision bf16-mixed"
        )
    if is_lost_process(error):
        return (
            f"a process of this run has ended ({one_screen(error)[:200]}): what ended it is said above, or by the"
            f" system.{kept}"
        )
    if is_lost_worker(error):
        return (
            f"a data worker of this run has ended ({_own_words(error)}): often for want of memory, or of room in"
            f" /dev/shm: pass a smaller data.batch_size or fewer data.workers (0 needs no shared memory).{kept}"
        )
    if is_disk_error(error):
        return f"{word_disk_error(error)}.{kept}"
    return f"{type(error).__name__}: {one_screen(error)}"


def foreseen(error: BaseException) -> BaseException | None:
    """Return the want of memory or disk, or the lost process, that an error is or came from.

    None where it has another reason, such as a mistake in code. What Lightning cleans up may fail after it, too; but a
    file that was looked for in vain is no reason for what fails later.
    """
    if is_disk_error(error):
        return error
    found: BaseException | None = error
    while found is not None:
        if is_out_of_memory(found) or is_lost_process(found) or is_lost_worker(found) or _is_full(found):
            return found
        found = found.__cause__ or found.__context__
    return None


def one_screen(error: BaseException) -> str:
    """Return an error's text on few lines, or its type where it has none."""
    return " ".join(str(error).split())[:900] or type(error).__name__


def _own_words(error: BaseException) -> str:
    """Return what an error says that a data worker handed on, without the worker's traceback."""
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join((lines[0] if len(lines) == 1 or "Traceback" not in str(error) else lines[-1]).split())[:200]


def is_lost_process(error: BaseException) -> bool:
    """Tell whether one of the processes that train together heard no more of another."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def is_lost_worker(error: BaseException) -> bool:
    """Tell whether a process that read ahead has ended."""
    text = str(error)
    return isinstance(error, RuntimeError) and (
        ("DataLoader worker" in text and ("is killed by signal" in text or "exited unexpectedly" in text))
        or "unable to allocate shared memory" in text
        or "unable to write to file </torch" in text
    )


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
