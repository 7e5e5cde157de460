"""What a benchmark found: tables and headlines with machine and versions, as Markdown and as JSON."""

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from nasoseg.cores import usable_cores
from nasoseg.files import whole_file

PACKAGES = (
    "nasoseg", "torch", "numpy", "lightning", "torchmetrics", "albumentations", "h5py", "hdf5plugin", "blosc2",
    "segmentation-models-pytorch", "monai", "dynamic-network-architectures", "nnunetv2", "surface-distance",
    "onnxruntime", "openvino",
)  # fmt: skip
"""Packages whose versions a result names, where they are installed."""


class Results:
    """Gather what one benchmark found; every table is printed as soon as it is there.

    Args:
        name: Of the benchmark and its files.
        title: In words.
        settings: What it was called with.
    """

    def __init__(self, name: str, title: str, *, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.title = title
        self.settings = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        self.machine = machine()
        self.tables: list[dict[str, Any]] = []
        self.headlines: list[dict[str, str]] = []
        self.left_out: list[str] = []
        print("\n".join(self._head()), flush=True)

    def leave_out(self, what: str, why: str) -> None:
        """Note an alternative that could not be measured here."""
        if (line := f"{what}: {why}") not in self.left_out:
            self.left_out.append(line)
            print(f"left out: {line}", flush=True)

    def add_table(self, title: str, rows: Sequence[Mapping[str, Any]], *, note: str = "") -> None:
        """Add a table; the columns are the keys of its rows. Numbers stay numbers in the JSON."""
        self.tables.append({"title": title, "note": note, "rows": [dict(row) for row in rows]})
        print("\n" + table_text(self.tables[-1]), flush=True)

    def add_headline(self, what: str, ours: str, peer: str, ratio: object, *, aim: str = "") -> None:
        """Add a line to the one table over all benchmarks (``summary.py``)."""
        self.headlines.append({"what": what, "nasoseg": ours, "best peer": peer, "ratio": str(ratio), "aim": aim})

    def write(self, folder: Path | None) -> None:
        """Write ``<name>.json`` and ``<name>.md`` into a folder, if one is named."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        fields = ("name", "title", "machine", "settings", "headlines", "tables", "left_out")
        record = {field: getattr(self, field) for field in fields}
        text = "\n".join([*self._head(), "", *(table_text(table) + "\n" for table in self.tables)])
        text += "".join(f"Left out: {line}.\n" for line in self.left_out)
        for suffix, content in ((".json", json.dumps(record, indent=1, default=str) + "\n"), (".md", text)):
            with whole_file(folder / f"{self.name}{suffix}") as temporary:
                temporary.write_text(content, encoding="utf-8")

    def _head(self) -> list[str]:
        settings = ", ".join(f"{key} {value}" for key, value in self.settings.items() if value is not None)
        versions = ", ".join(f"{name} {number}" for name, number in self.machine["versions"].items())
        return [f"## {self.title}", "", self.machine["line"], versions, f"Settings: {settings}"]


def table_text(table: Mapping[str, Any]) -> str:
    """Write a table in Markdown."""
    rows = table["rows"]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"**{table['title']}**", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines + (["", table["note"]] if table["note"] else []))


def machine() -> dict[str, Any]:
    """Describe the machine, how busy it is, and the versions of what runs on it."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    load = os.getloadavg()[0]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    line = (
        f"{now}, commit {_commit()}, {_processor()}, {usable_cores()} cores, {memory_gib:.0f} GiB, {cuda},"
        f" load {load:.1f} at the start, Python {platform.python_version()}"
    )
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"line": line, "load": load, "command": " ".join(sys.argv), "versions": versions}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)
