"""After running out of memory: the largest batch that would have fitted."""

import gc
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.utils.data import default_collate

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.dataset import Sample
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.memory import is_out_of_memory


def advise_batch(
    trainer: lightning.Trainer, task: SegmentationTask, data: SliceDataModule, error: BaseException
) -> str:
    """Say which ``data.batch_size`` fits, after a training that ran out of memory; with several processes, nothing.

    Args:
        trainer: Whose precision the steps run in.
        task: On the device that ran out.
        data: Whose training samples are tried.
        error: What was raised. Its frames, which hold on to the batch that did not fit, are cleared.
    """
    if trainer.world_size > 1 or trainer.state.fn != TrainerFn.FITTING:
        return ""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    dataset = data.train_dataloader().dataset
    precision = trainer.precision_plugin.train_step_context
    try:
        fits = largest_batch(task, dataset[0, 0], below=data.batch_size, precision=precision)
    except Exception:  # advice must not stand in the way of the error itself
        return ""
    if fits:
        return f"\nTried just now: data.batch_size {fits} fits, of {data.batch_size}"
    return "\nTried just now: not even one image fits"


def largest_batch(
    task: SegmentationTask,
    sample: Sample,
    *,
    below: int,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> int:
    """Try training steps of ever fewer images until one fits into what memory there is now.

    A step is forward, loss and backward on copies of one sample. Parameters are not changed; gradients are dropped.

    Args:
        task: On the device that ran out.
        sample: One training sample, as a dataset gives it.
        below: A batch that did not fit.
        precision: Makes what a forward pass runs in, such as ``torch.autocast``.

    Returns:
        The largest batch below ``below`` that fits; 0 if not even one image does.
    """
    fits, too_large = 0, below
    while too_large - fits > 1:
        count = (fits + too_large) // 2
        if _fits(task, [sample] * count, precision):
            fits = count
        else:
            too_large = count
    return fits


def _fits(
    task: SegmentationTask, samples: list[Sample], precision: Callable[[], AbstractContextManager[object]]
) -> bool:
    statistics = {name: buffer.clone() for name, buffer in task.named_buffers()}  # batch norm counts every forward
    try:
        with torch.enable_grad(), precision():
            batch: Sample = default_collate(samples)
            for name in ("labels", "annotated"):
                batch[name] = batch[name].to(task.device)
            batch["image"] = batch["image"].to(task.device, memory_format=_memory_format(task))
            loss = task.training_losses(batch)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    except Exception as error:  # whatever the device raises for want of memory
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        task.zero_grad(set_to_none=True)
        for name, buffer in task.named_buffers():
            buffer.copy_(statistics[name])
        gc.collect()
        if task.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _memory_format(module: nn.Module) -> torch.memory_format:
    last = any(p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in module.parameters())
    return torch.channels_last if last else torch.contiguous_format
