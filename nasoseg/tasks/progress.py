"""Progress of training and testing: a live bar in a terminal, a line an epoch everywhere."""

import math
import time
from collections.abc import Sized
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class EpochLines(Callback):
    """Print one plain line an epoch: loss, validation DSC, images a second, seconds.

    Images a second count the training's part of an epoch with all that it waited for; the seconds hold its validation
    too.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._began = 0.0
        self._images = 0
        self._rate = 0.0
        self._validated = False

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to count."""
        self._began = time.monotonic()
        self._images = 0
        self._validated = False

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the images of all processes, and log their rate."""
        self._images += len(batch["image"]) * trainer.world_size
        self._rate = self._images / (time.monotonic() - self._began)
        module.log("images/s", self._rate, on_step=False, on_epoch=True, batch_size=1, rank_zero_only=True)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Note that the epoch has a validation of its own."""
        self._validated = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Print what the epoch reached; its validation, if it has one, has run by now."""
        if not trainer.is_global_zero:
            return
        shown = {"loss": "train/loss"} | ({"val dsc": "val/dsc"} if self._validated else {})
        values = {name: trainer.callback_metrics.get(key) for name, key in shown.items()}
        numbers = "  ".join(f"{name} {float(value):.4f}" for name, value in values.items() if value is not None)
        seconds = time.monotonic() - self._began
        last = f"/{trainer.max_epochs}" if trainer.max_epochs != -1 else ""  # -1: until max_time, or max_steps
        epoch = f"epoch {trainer.current_epoch + 1}{last}"
        self.console.print(f"{epoch}  {numbers}  {self._rate:.1f} images/s  {seconds:.0f} s")


class LiveBar(EpochLines):
    """Show a bar with the loss, the speed and the time left until the end of training, above it the epochs' lines."""

    def __init__(self) -> None:
        super().__init__(Console(highlight=False))
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._loss = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open the bar over all epochs."""
        steps = trainer.estimated_stepping_batches  # infinite without an end in epochs or steps
        total = int(steps) * trainer.accumulate_grad_batches if math.isfinite(steps) else None
        self._open("training", total, trainer, done=trainer.fit_loop.total_batch_idx + 1)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move on by a batch, and show the loss, smoothed over some ten batches read, and the speed."""
        super().on_train_batch_end(trainer, module, outputs, batch)
        if outputs["loss"].device.type == "cpu" or batch_idx % 20 == 0:  # reading a loss waits for the device
            loss = float(outputs["loss"])
            self._loss = loss if not self._loss else 0.9 * self._loss + 0.1 * loss
        self._advance(f"loss {self._loss:.4f}  {self._rate:.0f} images/s", f"epoch {trainer.current_epoch + 1}")

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar: it would hide the error, and the cursor."""
        self._bar.stop()

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open a bar of its own where validation is all there is; within training it only says so."""
        if trainer.state.fn == "fit":
            self._describe("validating")
        else:
            self._open("validating", _batches(trainer.val_dataloaders), trainer)

    def on_test_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open the bar."""
        self._open("testing", _batches(trainer.test_dataloaders), trainer)

    def on_predict_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open the bar."""
        self._open("predicting", _batches(trainer.predict_dataloaders), trainer)

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Move on by a batch."""
        if trainer.state.fn != "fit":
            self._advance()

    def on_test_batch_end(self, *_: Any) -> None:
        """Move on by a batch."""
        self._advance()

    def on_predict_batch_end(self, *_: Any) -> None:
        """Move on by a batch."""
        self._advance()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Close the bar of a validation alone."""
        if trainer.state.fn != "fit":
            self._bar.stop()

    def on_test_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_predict_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Close the bar."""
        self._bar.stop()

    def _open(self, what: str, total: int | None, trainer: lightning.Trainer, *, done: int = 0) -> None:
        if not trainer.is_global_zero:
            return
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._task = self._bar.add_task(what, total=total, completed=done, shown="")
        self._bar.start()

    def _advance(self, shown: str = "", what: str | None = None) -> None:
        if self._task is not None:
            self._bar.update(self._task, advance=1, shown=shown)
            if what is not None:
                self._describe(what)

    def _describe(self, what: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=what)


def _batches(loader: Any) -> int:
    return len(loader) if isinstance(loader, Sized) else 0
