"""An end for all processes of a run where one is told to end."""

import os
import signal
import sys
from typing import Any

import lightning
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment


class EndTogether(lightning.Callback):
    """End a process of several at once, with a word, when it gets SIGTERM; the others hear no more of it and end too.

    Lightning's own handler talks to the other processes from within the signal, in the middle of whatever they talk
    of already, and all wait forever. What was trained is on the disk: checkpoints are written atomically. Under
    SLURM its handler stays: the signal announces a requeue there.
    """

    def on_sanity_check_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take the signal over."""
        self._take_over(trainer)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take the signal over, where there was no sanity check."""
        self._take_over(trainer)

    def _take_over(self, trainer: lightning.Trainer) -> None:
        connector: Any = getattr(trainer, "_accelerator_connector", None)
        if trainer.world_size == 1 or isinstance(connector.cluster_environment, SLURMEnvironment):
            return
        launcher: Any = trainer.strategy.launcher

        def end(number: int, _: Any) -> None:
            print(
                f"nasoseg: process {trainer.global_rank} of {trainer.world_size} was told to end (SIGTERM): the others"
                " end too. Resume with --ckpt_path last",
                file=sys.stderr,
                flush=True,
            )
            if launcher is not None:
                launcher.kill(signal.SIGTERM)
            os._exit(128 + number)

        signal.signal(signal.SIGTERM, end)
