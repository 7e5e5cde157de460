"""Whether there is an epoch that can be picked as the best: one that was trained to its end and validated."""

from pathlib import Path

from jsonargparse import Namespace

from nasoseg.cli.run_folder import best_checkpoint
from nasoseg.errors import NasosegError


def check_validated(trainer: Namespace, *, epochs: int) -> None:
    """Refuse settings under which no epoch is validated.

    Args:
        trainer: The config of the trainer.
        epochs: How many there are; -1 for no end.

    Raises:
        NasosegError: If none is.
    """
    if trainer.limit_val_batches == 0:
        raise NasosegError(
            "trainer.limit_val_batches: found 0: no epoch would be validated, and so none picked as the best:"
            " expected 1 or more"
        )
    every = trainer.check_val_every_n_epoch or 1
    if 0 < epochs < every and not trainer.fast_dev_run:
        raise NasosegError(
            f"trainer.check_val_every_n_epoch: found {every} with max_epochs {epochs}: no epoch would be validated,"
            " and so none picked as the best: expected at most max_epochs"
        )


def check_picked(folder: Path) -> None:
    """Say of a training that has ended by steps or time if it was before the first validation.

    Raises:
        NasosegError: If the run folder has no best checkpoint.
    """
    if not best_checkpoint(folder).is_file():
        raise NasosegError(
            f"{folder}: training ended (trainer.max_steps or max_time) before an epoch was trained and validated, so"
            " that none could be picked as the best: give it more, and begin anew with --force true"
        )
