"""What a command prints: text; nothing but errors with ``-q``; one JSON document with ``--json``."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``-q``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors and warnings alone")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document for programs; messages go to standard error"
    )


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document on standard output. A number that is not finite becomes null: JSON knows none."""
    print(json.dumps(_plain(document), indent=2, allow_nan=False), flush=True)


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(child) for key, child in node.items()}
    if isinstance(node, str | bool | int | None):
        return node
    if isinstance(node, Sequence):
        return [_plain(child) for child in node]
    if isinstance(node, Path):
        return str(node)
    number = float(node)
    return number if abs(number) < float("inf") else None
