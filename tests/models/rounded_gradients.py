"""The gradient of a network in bfloat16, beside the one in float32."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def both_gradients(
    network: nn.Module, image: Tensor, loss: Callable[..., Tensor], *, of: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Return the gradient in float32 and the one under autocast, both flat, from the same weights and buffers.

    Args:
        network: Put into training mode.
        loss: Of what the network returns.
        of: The part whose parameters count; all by default.
    """
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    gradients = []
    for reduced in (False, True):
        network.load_state_dict(state)
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            output = network.train()(image)
        loss(output).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in (of or network).parameters() if p.grad is not None]))
    return gradients[0], gradients[1]


def assert_alike(exact: Tensor, rounded: Tensor, *, cosine: float, length: float) -> None:
    """Fail unless the cosine is larger and the lengths' ratio at most ``length`` either way."""
    assert torch.cosine_similarity(exact, rounded, dim=0) > cosine
    assert 1 / length < rounded.norm() / exact.norm() < length
