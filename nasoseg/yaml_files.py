"""YAML that a stranger may have written: of bounded size, and no more values than a file of that size needs.

A few lines of YAML can stand for more than any memory (aliases of aliases), or for themselves; whatever walks, prints
or copies such a document never ends.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nasoseg.errors import NasosegError

_MOST_BYTES = 1 << 18  # PyYAML reads some 50 kB a second
_MOST_VALUES = 100_000
_LARGEST_NUMBER = 2**64  # Python refuses to print numbers of more than 4300 digits


def read_yaml(
    path: Path, *, kind: str, keys: Sequence[str] = (), loader: type[yaml.SafeLoader] = yaml.SafeLoader
) -> Any:
    """Read a YAML file as plain data.

    Args:
        path: The file.
        kind: What it should be, for the message: ``a structures file``.
        keys: Those that it may have, for the message.
        loader: A safe loader.

    Raises:
        NasosegError: If it is missing, larger than 256 KiB, no YAML, unfolds to more than 100,000 values, or has a
            whole number beyond 64 bits.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise NasosegError(f"{path}: {size} bytes, expected {kind} of at most {_MOST_BYTES}: name the right file")
        found = loader(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        told = error.strerror if isinstance(error, OSError) else None
        reason = " ".join((told or str(error) or type(error).__name__).split())[:300]
        wanted = f"YAML with {', '.join(keys)}" if keys else "YAML"
        raise NasosegError(f"{path}: cannot be read as {kind} ({reason}): expected {wanted}") from error
    if fault := _fault(found):
        raise NasosegError(f"{path}: {fault}, expected {kind}: correct the file")
    return found


def _fault(document: Any) -> str:
    """Find what no config needs; empty if there is nothing."""
    waiting, seen = [document], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            return f"unfolds to more than {_MOST_VALUES} values"
        if isinstance(node, int) and abs(node) > _LARGEST_NUMBER:
            return "has a whole number of more than 64 bits"
        if isinstance(node, dict):
            waiting += [*node.keys(), *node.values()]
        elif isinstance(node, list | tuple | set):
            waiting += node
    return ""
