"""How the precise stage receives the rough stage's result: three readings of the paper, one interface."""

import torch
from torch import Tensor, nn

from nasoseg.heads import Head, checked_head, probabilities


class Coupling(nn.Module):
    """Join features and rough logits into the input of stage 2, and turn its output into the final logits.

    This one is ``concat``: stage 2 reads the features with stage 1's probabilities behind them, and its output is
    final. A subclass overrides ``join``, ``finish`` and ``in_channels`` as it needs.

    Args:
        head: What the logits mean; decides how they become probabilities.
    """

    def __init__(self, head: Head = "multilabel") -> None:
        super().__init__()
        self.head: Head = checked_head(head)

    def in_channels(self, features: int, classes: int) -> int:
        """Return the channels that ``join`` gives for that many feature channels and logit channels."""
        return features + classes

    def join(self, features: Tensor, rough: Tensor) -> Tensor:
        """Make stage 2's input from features (b, f, h, w) and rough logits (b, k, h, w)."""
        return torch.cat([features, probabilities(rough, self.head).to(features.dtype)], dim=1)

    def finish(self, rough: Tensor, refined: Tensor) -> Tensor:
        """Make the final logits (b, k, h, w) from rough logits and stage 2's output, both (b, k, h, w)."""
        return refined


class GateCoupling(Coupling):
    """Multiply the features by stage 1's soft foreground: the paper's stage 1 as a filter of noise.

    Soft foreground = the probability that any structure is there. The probabilities are concatenated as well.
    """

    def join(self, features: Tensor, rough: Tensor) -> Tensor:
        """Make stage 2's input from features (b, f, h, w) and rough logits (b, k, h, w)."""
        p = probabilities(rough, self.head).to(features.dtype)
        background = p[:, :1] if self.head == "multiclass" else (1 - p).prod(dim=1, keepdim=True)
        return torch.cat([features * (1 - background), p], dim=1)


class ResidualCoupling(Coupling):
    """Let stage 2 predict a correction that is added to stage 1's logits."""

    def finish(self, rough: Tensor, refined: Tensor) -> Tensor:
        """Add the correction ``refined`` to the rough logits, both (b, k, h, w)."""
        return rough + refined
