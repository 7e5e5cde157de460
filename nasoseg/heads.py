"""What the last channels of a network mean: one sigmoid per structure, or one softmax over all.

``multilabel``: channel i is structure i; structures may overlap. ``multiclass``: channel 0 is background, channel
i + 1 is structure i; every pixel belongs to one of them, and where drawn structures overlap, the later one counts.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Head = Literal["multilabel", "multiclass"]


def checked_head(head: Head) -> Head:
    """Return the head.

    Raises:
        ValueError: If it is none: everything here would take it for one head or the other, each in its own way.
    """
    if head not in get_args(Head):
        raise ValueError(f"head {head!r}: expected one of {', '.join(map(repr, get_args(Head)))}")
    return head


def channels(structures: int, head: Head) -> int:
    """Return the number of logit channels for that many structures.

    Raises:
        ValueError: If there is no such head.
    """
    return structures + (checked_head(head) == "multiclass")


def probabilities(logits: Tensor, head: Head) -> Tensor:
    """Turn logits (b, c, h, w) into probabilities (b, c, h, w) of every channel."""
    return logits.sigmoid() if head == "multilabel" else logits.softmax(dim=1)


def structure_probabilities(logits: Tensor, head: Head) -> Tensor:
    """Turn logits (b, c, h, w) into probabilities (b, k, h, w) of the structures alone."""
    return probabilities(logits, head)[:, int(head == "multiclass") :]


def structure_logits(logits: Tensor, head: Head) -> Tensor:
    """Turn logits (b, c, h, w) into one logit a structure (b, k, h, w), which ranks pixels as its probability does.

    For a softmax this is the log-odds of the structure against everything else.
    """
    if head == "multilabel":
        return logits
    # With t = log-sum-exp over all and x the channel: log(p / (1 - p)) = (x - t) - log(1 - exp(x - t)).
    log_p = logits.log_softmax(dim=1)[:, 1:]
    return log_p - torch.log(-torch.expm1(log_p.clamp(max=-1e-7)))


def decide(logits: Tensor, head: Head) -> Tensor:
    """Turn logits (b, c, h, w) into masks (b, k, h, w), bool: probability over 1/2, or the likeliest channel."""
    if head == "multilabel":
        return logits > 0
    return expand_classes(logits.argmax(dim=1), logits.shape[1] - 1)


def expand_planes(planes: Tensor, structures: int) -> Tensor:
    """Expand bit planes (b, h, w), integer, into masks (b, k, h, w), bool: bit i is structure i."""
    bits = torch.arange(structures, device=planes.device, dtype=planes.dtype).view(1, -1, 1, 1)
    return planes.unsqueeze(1).bitwise_right_shift(bits).bitwise_and(1).bool()


def expand_classes(numbers: Tensor, structures: int) -> Tensor:
    """Expand class numbers (b, h, w), integer, into masks (b, k, h, w), bool: i + 1 is structure i, 0 none."""
    return numbers.unsqueeze(1) == torch.arange(1, structures + 1, device=numbers.device).view(1, -1, 1, 1)


def one_label(target: Tensor) -> Tensor:
    """Turn masks (b, k, h, w) into class numbers (b, h, w), int64: 0 background, i + 1 structure i, the later wins."""
    numbers = torch.arange(1, target.shape[1] + 1, device=target.device).view(1, -1, 1, 1)
    return (target.bool() * numbers).amax(dim=1)
