"""How much GPU memory an epoch needed."""

import lightning
import torch


class GpuMemory(lightning.Callback):
    """Log ``gpu_memory_gib``: the most that torch held for tensors in an epoch, on the first process's GPU."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to watch anew."""
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(module.device)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Log the epoch's peak, its validation included."""
        if module.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(module.device) / 2**30
            module.log("gpu_memory_gib", peak, rank_zero_only=True)
