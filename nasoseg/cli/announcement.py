"""What fit says before it begins."""

import lightning

from nasoseg.cli.precision import HINT, is_slower_than_need_be
from nasoseg.data.datamodule import SliceDataModule
from nasoseg.tasks.base import SegmentationTask


def announce(trainer: lightning.Trainer, model: SegmentationTask, data: SliceDataModule) -> None:
    """Print the size of network and data, and what is to be known of them."""
    counts = ", ".join(f"{len(data.slices(part))} {part}" for part in ("train", "validation", "test"))
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{type(model).__name__}, {parameters / 1e6:.2f} M parameters; {len(data.labels)} structures;"
        f" patients: {counts}; protocol {data.protocol}, fold {data.fold}",
        flush=True,
    )
    if unseen := data.unannotated("validation"):
        print(f"no validation patient has {', '.join(unseen)} annotated: val dsc is of the others", flush=True)
    if is_slower_than_need_be(trainer):
        print(HINT, flush=True)
