"""Which words of Lightning and its dependencies are left out, and how warnings look."""

import logging
import os
import warnings
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def quieten() -> None:
    """Leave out what Lightning says of itself, and its advice that does not apply here; word our warnings plainly."""
    warnings.formatwarning = _worded
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its one message says that a process has ended, and that it ends the others.
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    for text in (
        "does not have many workers",
        "The number of training batches",
        "Checkpoint directory .* exists",
        "The `srun` command",
        "Total length of `DataLoader` across ranks is zero",
        r".*ModelCheckpoint\(monitor='val/dsc'\)` could not find",  # training ended before a validation: we say so
        "It is recommended to use `self.log",  # on several processes, of values that the metric has joined already
    ):
        warnings.filterwarnings("ignore", f".*{text}")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning 2.6 calls what 4.49 deprecated
    warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated")  # Lightning 2.6 with torch 2.12


def _worded(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Word a warning of this package without the place in its code, which helps no user; others keep theirs."""
    place = "" if Path(filename).is_relative_to(_PACKAGE) else f"{filename}:{lineno}: {category.__name__}: "
    return f"warning: {place}{message}\n"
