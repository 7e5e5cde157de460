"""The number format of a training for which nobody has chosen one."""

from typing import Any

import lightning
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.plugins.precision import Precision

HINT = "this processor computes in bfloat16 by itself: --trainer.precision bf16-mixed may halve the time of an epoch"


def default_precision(accelerator: object, plugins: object) -> str | None:
    """Choose mixed precision with bfloat16 for a GPU that has it, else leave the choice to Lightning: float32.

    A processor keeps float32 even where it has bfloat16, so that the README's numbers come out alike on all.

    Args:
        accelerator: What the trainer is asked for: ``auto``, ``gpu``, ``cpu`` ..., or an object.
        plugins: Of the trainer; one that sets the precision is a choice.
    """
    listed = plugins if isinstance(plugins, list) else [plugins]
    if accelerator not in ("auto", "gpu", "cuda") or any(_sets_precision(plugin) for plugin in listed):
        return None
    has_it = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has_it else None


def is_slower_than_need_be(trainer: lightning.Trainer) -> bool:
    """Tell whether this is a training in float32 on a processor with units for bfloat16 (Intel's AMX)."""
    if not isinstance(trainer.accelerator, CPUAccelerator) or trainer.precision != "32-true":
        return False
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.12
    return bool(capabilities.get("amx_bf16"))


def _sets_precision(plugin: Any) -> bool:
    """Look at an object, or at the ``class_path`` of one that has not been built yet."""
    named = str(getattr(plugin, "class_path", ""))
    return isinstance(plugin, Precision) or "Precision" in named or plugin in ("bf16-mixed", "16-mixed")
