"""Batch normalisation as part of the convolution before it, for networks that only predict."""

import copy
import itertools
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_normalisation(module: Network) -> Network:
    """Return a network that computes the same, to rounding, without a pass for each batch normalisation.

    A ``BatchNorm2d`` in evaluation mode that follows a ``Conv2d`` in a ``Sequential`` is folded into its weights. What
    holds none of these pairs is shared with the network that is given, which stays as it is; so are a compiled part,
    and a pair that something hooks into or that is a class of its own.

    Args:
        module: Any network; what it is made of is not looked for beyond its registered modules.
    """
    if getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod"):
        return module  # it runs what was compiled, whatever its parts are
    children = {name: child and fold_normalisation(child) for name, child in module._modules.items()}
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for a, b in itertools.pairwise(list(children)):
            first, second = children[a], children[b]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d) and _can_fold(first, second):
                children[a], children[b] = fuse_conv_bn_eval(first, second), nn.Identity()
    if all(children[name] is child for name, child in module._modules.items()):
        return module
    twin = copy.copy(module)
    twin._modules = children
    return twin


def _can_fold(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d) -> bool:
    """Tell whether the second always does the same with all that the first gives."""
    if type(convolution) is not nn.Conv2d or type(normalisation) is not nn.BatchNorm2d:
        return False
    if normalisation.training or normalisation.running_mean is None:
        return False
    # Hooks listen to what passes, or make weights anew, as torch's older weight normalisation does.
    return not any(each._forward_hooks or each._forward_pre_hooks for each in (convolution, normalisation))
