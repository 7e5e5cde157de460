"""What a run is, as plain data for a dashboard: network, data by hash, protocol, versions, commit. No path, no name."""

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.tasks.base import SegmentationTask


def run_facts(model: SegmentationTask, data: SliceDataModule, *, method: str) -> dict[str, Any]:
    """Describe a run.

    Args:
        model: What is trained or tested.
        data: The store, the split and the fold.
        method: Name of the method.
    """
    store, split = data.store, data.split
    return {
        "method": method,
        "network": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "protocol": split.protocol,
        "fold": data.fold,
        "labels": list(data.labels),
        "store": {"sha256": store.content_sha256, "patients": len(store.keys)},
        "split": {"sha256": split.sha256, "folds": len(split.folds), "seed": split.seed},
        "patients": {part: len(data.slices(part)) for part in ("train", "validation", "test")},
        "git": {"nasoseg": _own_commit(), "project": git_state(Path.cwd())},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("nasoseg", "torch", "lightning")},
        },
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository that a folder lies in, and whether tracked files differ from it.

    None where there is no repository, no commit, or no git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def without_paths(node: Any) -> Any:
    """Shorten the paths in plain data to their last part: folders tell of the machine and its user."""
    if isinstance(node, dict):
        return {str(key): without_paths(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [without_paths(value) for value in node]
    if isinstance(node, Path | str):
        return re.split(r"[/\\]", str(node).rstrip("/\\"))[-1]
    return node if isinstance(node, bool | int | float | None) else type(node).__name__


def _own_commit() -> dict[str, Any] | None:
    """Return the commit of nasoseg's own sources, not of a repository that an environment happens to lie in."""
    source = Path(__file__)
    return git_state(source.parent) if _git(source.parent, "ls-files", source.name) else None


def _git(folder: Path, *arguments: str) -> str:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""
