"""Disks that are too small or cannot be written, made with tmpfs where this user may mount."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


class Disk:
    """A file system of its own on a folder; unmount it in the end."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        if not is_root() or shutil.which("mount") is None:
            pytest.skip("only root can mount a disk")
        folder.mkdir(parents=True, exist_ok=True)
        ended = self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        if ended.returncode:
            pytest.skip(f"a disk cannot be mounted here: {ended.stderr.strip()}")

    def change(self, options: str) -> None:
        """Change size or mode: ``size=20m``, ``ro``."""
        ended = self._mount("-o", f"remount,{options}", str(self.folder))
        assert ended.returncode == 0, ended.stderr

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    @staticmethod
    def _mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
