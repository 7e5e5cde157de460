"""Segment tissues in nasopharyngeal (head-and-neck) CT with a two-stage U-Net.

The public names are loaded when they are first used, so that importing nasoseg stays cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nasoseg import labels
from nasoseg.errors import NasosegError

if TYPE_CHECKING:
    from nasoseg.data.datamodule import SliceDataModule as SliceDataModule
    from nasoseg.data.splits import Split as Split
    from nasoseg.data.store import Store as Store
    from nasoseg.data.transforms import Augmentation as Augmentation
    from nasoseg.inference.cleaning import Cleaning as Cleaning
    from nasoseg.inference.segment import segment as segment
    from nasoseg.inference.segmentation import Segmentation as Segmentation
    from nasoseg.inference.study import Study as Study
    from nasoseg.inference.study import read_study as read_study
    from nasoseg.losses import DiceFocalLoss as DiceFocalLoss
    from nasoseg.losses import DiceLoss as DiceLoss
    from nasoseg.losses import FocalLoss as FocalLoss
    from nasoseg.losses import StagedLoss as StagedLoss
    from nasoseg.metrics import OverlapMetrics as OverlapMetrics
    from nasoseg.metrics import StreamingAUC as StreamingAUC
    from nasoseg.models import MultiScalePooling as MultiScalePooling
    from nasoseg.models import TwoStageNet as TwoStageNet
    from nasoseg.tasks.loading import load as load
    from nasoseg.tasks.mask_rcnn import MaskRCNN as MaskRCNN
    from nasoseg.tasks.single import FCN8 as FCN8
    from nasoseg.tasks.single import SingleNetwork as SingleNetwork
    from nasoseg.tasks.single import UNet as UNet
    from nasoseg.tasks.two_stage import TwoStageUNet as TwoStageUNet

_HOMES = {
    "SliceDataModule": "nasoseg.data.datamodule",
    "Split": "nasoseg.data.splits",
    "Store": "nasoseg.data.store",
    "Augmentation": "nasoseg.data.transforms",
    "Cleaning": "nasoseg.inference.cleaning",
    "Segmentation": "nasoseg.inference.segmentation",
    "Study": "nasoseg.inference.study",
    "read_study": "nasoseg.inference.study",
    "segment": "nasoseg.inference.segment",
    "DiceFocalLoss": "nasoseg.losses",
    "DiceLoss": "nasoseg.losses",
    "FocalLoss": "nasoseg.losses",
    "StagedLoss": "nasoseg.losses",
    "OverlapMetrics": "nasoseg.metrics",
    "StreamingAUC": "nasoseg.metrics",
    "MultiScalePooling": "nasoseg.models",
    "TwoStageNet": "nasoseg.models",
    "FCN8": "nasoseg.tasks.single",
    "MaskRCNN": "nasoseg.tasks.mask_rcnn",
    "SingleNetwork": "nasoseg.tasks.single",
    "UNet": "nasoseg.tasks.single",
    "TwoStageUNet": "nasoseg.tasks.two_stage",
    "load": "nasoseg.tasks.loading",
}

__all__ = ["NasosegError", "labels", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nasoseg' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *globals()]
