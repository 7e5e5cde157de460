"""What a run raised, on one screen."""

import torch

from nasoseg.errors import NasosegError
from nasoseg.tasks.memory import is_out_of_memory


def own_error(error: BaseException | None) -> NasosegError | None:
    """Find our own error among the causes of one that a library raised."""
    while error is not None and not isinstance(error, NasosegError):
        error = error.__cause__ or error.__context__
    return error


def word_error(error: BaseException) -> str:
    """Word whatever a run raised on one screen: our own message, or the library's with its type."""
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
            " system. What was trained is kept: resume with --ckpt_path last"
        )
    return f"{type(error).__name__}: {one_screen(error)}"


def one_screen(error: BaseException) -> str:
    """Return an error's text on few lines, or its type where it has none."""
    return " ".join(str(error).split())[:900] or type(error).__name__


def is_lost_process(error: BaseException) -> bool:
    """Tell whether one of the processes that train together heard no more of another."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
