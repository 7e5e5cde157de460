"""All folders below a folder, those behind symbolic links included."""

import os
from pathlib import Path


def folders_below(root: Path) -> list[Path]:
    """List a folder and all folders below it, links followed; one that several paths lead to is there once.

    ``Path.rglob`` passes links over, and runs often lie on another disk. A link to a folder above ends there.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for folder, names, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        found.append(Path(folder))
        names.sort(key=lambda name: (Path(folder, name).is_symlink(), name))  # under its own name where it has one
    return found
