"""W&B without the keys, settings and folders of whoever runs the tests."""

import os
from pathlib import Path

import pytest


def isolate_wandb(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let W&B know nothing of the user, and keep all it writes in ``folder``."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        patch.delenv(name)
    patch.setenv("NETRC", str(folder / "netrc"))
    for name in ("DATA", "CACHE", "CONFIG"):
        patch.setenv(f"WANDB_{name}_DIR", str(folder / name.lower()))
    # W&B reads its settings once a process.
    import wandb

    wandb.teardown()
