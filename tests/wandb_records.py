"""What W&B's own reader finds in the files of a run: the program behind ``wandb leet inspect --json``."""

import json
import subprocess
from pathlib import Path
from typing import Any

Records = list[tuple[str, dict[str, Any]]]
"""Pairs of a record's type and its content, in order."""


def segments(run_folder: Path) -> list[Path]:
    """List the files that were written, the oldest first: one each time that the run went on."""
    return sorted((run_folder / "wandb").glob("offline-run-*/run-*.wandb"))


def read_records(path: Path) -> Records:
    """Read a ``.wandb`` file. Without Python between, whose import of wandb takes longer than the reading."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    command += ["--run-file", str(path), str(path.parent.parent)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return [(line["type"], line.get(line["type"], {})) for line in lines]


def rows(records: Records) -> list[dict[str, Any]]:
    """Return the rows of the history; keys of what is nested are joined by dots."""
    return [content["item"] for kind, content in records if kind == "history"]


def one(records: Records, kind: str) -> dict[str, Any]:
    """Return the first record of a type."""
    return next(content for found, content in records if found == kind)


def own_config(records: Records) -> dict[str, Any]:
    """Return the config as it was given."""
    merged: dict[str, Any] = {}
    for kind, content in records:
        if kind == "config":
            merged |= content["update"]
    return {key: value for key, value in merged.items() if key != "_wandb"}


def artifacts(records: Records) -> dict[str, dict[str, Any]]:
    """Return the artifacts by their type."""
    return {content["type"]: content for kind, content in records if kind == "artifact"}
