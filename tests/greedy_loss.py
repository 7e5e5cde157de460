"""A loss that needs more memory than any machine has, where a batch is too large."""

import torch

from nasoseg.losses import DiceFocalLoss


class GreedyLoss(DiceFocalLoss):
    """Allocate 2^60 bytes for more than ``most`` images."""

    def __init__(self, *, most: int = 5) -> None:
        super().__init__()
        self.most = most

    def forward(self, logits: torch.Tensor, target: torch.Tensor, annotated: torch.Tensor) -> torch.Tensor:
        if len(logits) > self.most:
            torch.empty(2**60, dtype=torch.uint8)
        return super().forward(logits, target, annotated)
