"""A progress bar in a terminal, a line an epoch elsewhere."""

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme


class ImageRate(Callback):
    """Log how many images a second an epoch trained, with all that it waited for."""

    def __init__(self) -> None:
        self._began = 0.0
        self._images = 0

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to count."""
        self._began = time.monotonic()
        self._images = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count, and show the rate so far."""
        self._images += len(batch["image"]) * trainer.world_size
        rate = self._images / (time.monotonic() - self._began)
        module.log("images/s", rate, prog_bar=True, on_step=False, on_epoch=True, batch_size=1, rank_zero_only=True)


class EpochLines(Callback):
    """Print one plain line an epoch, for logs and pipes."""

    def __init__(self) -> None:
        self._began = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to time."""
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Print what the epoch reached; its validation has run by now."""
        if not trainer.is_global_zero:
            return
        shown = {"loss": "train/loss", "val dsc": "val/dsc", "images/s": "images/s"}
        values = {name: trainer.callback_metrics.get(key) for name, key in shown.items()}
        numbers = "  ".join(f"{name} {float(value):.4g}" for name, value in values.items() if value is not None)
        seconds = time.monotonic() - self._began
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {numbers}  {seconds:.0f} s", flush=True)


def progress_callbacks(*, terminal: bool) -> list[Callback]:
    """Return the callbacks that show progress: a rich bar in a terminal, plain lines elsewhere."""
    if terminal:
        return [ImageRate(), RichProgressBar(theme=RichProgressBarTheme(metrics_format=".4g"))]
    return [ImageRate(), EpochLines()]
