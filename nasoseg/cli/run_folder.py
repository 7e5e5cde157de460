"""The folder of a run: whether a new run may have it, and which checkpoint in it is meant."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nasoseg.data.training_data import TRAINING_DATA
from nasoseg.errors import NasosegError
from nasoseg.locks import own_lock
from nasoseg.tasks.card_text import MODEL_CARD
from nasoseg.tasks.checkpoints import LAST, PREVIOUS, furthest_whole
from nasoseg.tasks.run_record import RECORD
from nasoseg.tasks.wandb_run import KEPT

_REQUEUED = "hpc_ckpt_*.ckpt"
"""What Lightning saves when SLURM announces the end of a job, which it then puts into the queue again."""

METRICS = "metrics.csv"
"""What the best model of a run reached on the test patients."""

WEIGHTS = "best.safetensors"
"""The weights of ``best.ckpt``, among the checkpoints, once training has ended."""

_RESULTS = (
    "config.yaml",
    "split.json",
    f"{TRAINING_DATA}.json",
    RECORD,
    MODEL_CARD,
    "checkpoints",
    "logs*",
    METRICS,
    "metrics-*.csv",
    "predictions",
    "predictions-*",
    _REQUEUED,
    "wandb",
    KEPT,
)


def claim_run_folder(folder: Path, *, force: bool) -> None:
    """Empty the folder of a run's files for a new run.

    Args:
        folder: May lack.
        force: Whether the files of an earlier run may go. Those of a job that SLURM has started anew always may.

    Raises:
        NasosegError: If it holds a run already.
    """
    check_free(folder, force=force)
    for name in _kept(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink():  # of a link only the link goes
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder, which is made if it lacks.

    Raises:
        NasosegError: If one is going on there, or the folder cannot be written.
    """
    lock = folder / ".training.lock"
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = held.enter_context(own_lock(lock))
        except OSError as error:
            raise NasosegError(f"--run: {folder} cannot be written ({error}): choose another") from error
        if not free:
            raise NasosegError(
                f"--run: another process is training in {folder}, expected none: wait for its end, or choose another"
                f" folder with --run; if there is none (a computer that died), delete {lock}"
            )
        yield


def check_free(folder: Path, *, force: bool) -> None:
    """Refuse a folder that ``claim_run_folder`` would refuse, and leave it as it is.

    Raises:
        NasosegError: If it holds a run already.
    """
    kept = _kept(folder)
    if kept and not (force or _begun_again()):
        raise NasosegError(
            f"--run: {folder} holds a run already ({', '.join(kept)}): resume it with --ckpt_path last,"
            " overwrite it with --force true, or choose another folder with --run"
        )


def best_checkpoint(folder: Path) -> Path:
    """Return where the best checkpoint of a run is kept."""
    return folder / "checkpoints" / "best.ckpt"


def is_beside_best(folder: Path, named: str | None) -> bool:
    """Tell whether a run folder has a best checkpoint, and another one than it is asked for."""
    best = best_checkpoint(folder)
    return (
        best.is_file() and named not in (None, "best") and (named == "last" or Path(named).resolve() != best.resolve())
    )


def find_checkpoint(folder: Path, named: str | None) -> Path:
    """Return a checkpoint: ``best`` (also None) or ``last`` of the run folder, or a file.

    Raises:
        NasosegError: If there is none.
    """
    named = named or "best"
    checkpoints = folder / "checkpoints"
    path = checkpoints / f"{named}.ckpt" if named in ("best", "last") else Path(named)
    if named == "last":
        path = furthest_whole([checkpoints / LAST, checkpoints / PREVIOUS]) or path
    if not path.is_file():
        raise NasosegError(f"--ckpt_path: no checkpoint {path}: train first, or name a file that `nasoseg fit` wrote")
    return path


def checkpoint_to_resume(folder: Path, named: str | None) -> Path | None:
    """Return what to go on from: the checkpoint asked for, or in a job that SLURM started anew the newest, if any."""
    if named:
        return find_checkpoint(folder, named)
    if not _begun_again():
        return None
    checkpoints = folder / "checkpoints"
    return furthest_whole([*folder.glob(_REQUEUED), checkpoints / LAST, checkpoints / PREVIOUS])


def forget_requeue(folder: Path) -> None:
    """Remove what Lightning saved for a requeue: it would test that state instead of the best."""
    for path in folder.glob(_REQUEUED):
        path.unlink()


def forget_results(folder: Path) -> None:
    """Remove the weights and the card of a training that goes on: of a better model they would be wrong.

    They are written anew when it ends; without ``best.ckpt``, of which they are, they stay.
    """
    if best_checkpoint(folder).is_file():
        for path in (folder / "checkpoints" / WEIGHTS, folder / MODEL_CARD):
            path.unlink(missing_ok=True)


def _kept(folder: Path) -> list[str]:
    return sorted({path.name for pattern in _RESULTS for path in folder.glob(pattern)})


def _begun_again() -> bool:
    """Tell whether SLURM has put this job into the queue again and started it anew: its run folder is its own."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
