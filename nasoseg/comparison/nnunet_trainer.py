# mypy: ignore-errors
"""A trainer for nnU-Net, run by nnU-Net's own interpreter: its trainer with another number of epochs and iterations.

nnU-Net finds trainers in the folder that ``nnUNet_extTrainer`` names. This file is copied there, and ``schedule.json``
is put beside it. Nothing of nasoseg may be imported here.
"""

import json
import os
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import (
    nnUNetTrainerNoMirroring,
)


class _Schedule:
    """Take epochs and iterations from ``schedule.json``, and write checkpoints whole or not at all."""

    # nnU-Net reads the names of these arguments.
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: ANN001, ANN204, B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        schedule = json.loads(Path(__file__).with_name("schedule.json").read_text(encoding="utf-8"))
        self.num_epochs = schedule["epochs"]
        self.num_iterations_per_epoch = schedule["iterations_per_epoch"]
        self.num_val_iterations_per_epoch = max(1, self.num_iterations_per_epoch // 5)  # nnU-Net's 250 to 50
        self.save_every = max(1, min(50, self.num_epochs // 20))  # its 50, and less for a short run to be resumed

    def save_checkpoint(self, filename: str) -> None:
        """Save under the final name only what is complete (github.com/MIC-DKFZ/nnUNet/issues/211)."""
        partial = f"{filename}.partial"
        super().save_checkpoint(partial)
        if os.path.isfile(partial):
            os.replace(partial, filename)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Leave out the prediction of the validation patients at the end: nothing is chosen by it here."""


class NasosegTrainer(_Schedule, nnUNetTrainer):
    """nnU-Net's trainer, which mirrors in training and prediction."""


class NasosegTrainerNoMirroring(_Schedule, nnUNetTrainerNoMirroring):
    """nnU-Net's variant without mirroring."""
