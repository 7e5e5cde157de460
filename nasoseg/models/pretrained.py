"""Weights that others trained on photographs, taken over by networks that read CT."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nasoseg.errors import NasosegError


def pretrained_weights(weights: Any, source: bool | str) -> dict[str, Tensor]:
    """Load the tensors of a torchvision model: published ones, or a file of the same names.

    Args:
        weights: A member of torchvision's ``WeightsEnum``, which knows the address and the hash.
        source: True loads what torchvision publishes, through its own code: downloaded into ``$TORCH_HOME``, with its
            hash checked, unless it lies there already. A path loads that file, written by ``torch.save``.

    Raises:
        NasosegError: If the file or the address cannot be read.
    """
    try:
        if isinstance(source, str):
            loaded: dict[str, Tensor] = torch.load(Path(source), map_location="cpu", weights_only=True)
        else:
            # torch.hub would unpickle whatever the file holds if it were not told otherwise.
            loaded = weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # no network, no file, a damaged file: a dozen unrelated types
        where = source if isinstance(source, str) else weights.url
        first = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:160]
        raise NasosegError(
            f"pretrained: {where} cannot be loaded ({first}): give the path of a file of {weights}'s tensors that you"
            " have copied here, or pretrained=False"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise NasosegError(f"pretrained: {source} holds no named tensors: expected a state dict of {weights}")
    return loaded


def with_channels(convolution: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Make the same convolution for another number of input channels, with random weights.

    Drawn as torchvision draws the others: normal, by fan out (He et al. 2015).
    """
    # Pairs; torch types them as tuples of any length, which Conv2d does not take.
    window: dict[str, Any] = {name: getattr(convolution, name) for name in ("kernel_size", "stride", "padding")}
    made = nn.Conv2d(in_channels, convolution.out_channels, bias=convolution.bias is not None, **window)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


def grey_kernels(kernels: Tensor, in_channels: int) -> Tensor:
    """Turn kernels for colour (n, 3, h, w) into kernels for CT (n, in_channels, h, w).

    The sum over the colours is shared out equally, so that a slice repeated in every channel gives what the grey
    photograph gave. Colours mean nothing in CT, whatever the number of channels: three are treated alike, too.
    """
    return (kernels.sum(dim=1, keepdim=True) / in_channels).expand(-1, in_channels, -1, -1)
