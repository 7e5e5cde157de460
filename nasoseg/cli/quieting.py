"""Which words of Lightning and its dependencies are left out."""

import logging
import os
import warnings


def quieten() -> None:
    """Leave out what Lightning says of itself, and its advice that does not apply here."""
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
