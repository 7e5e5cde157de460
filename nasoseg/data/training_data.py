"""What a model was trained on: how its images were made, and what the training patients were like."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasoseg.data.windows import WindowHU
from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # an exported model is described by this too, and runs without torch
    from nasoseg.data.datamodule import SliceDataModule

TRAINING_DATA = "training_data"
"""Its key in a checkpoint, and with ``.json`` its name in a run folder."""


@dataclass(frozen=True)
class Range:
    """Hold the smallest, the median and the largest of some sizes."""

    smallest: float
    median: float
    largest: float

    def covers(self, value: float, *, tolerance: float = 0.0) -> bool:
        """Tell whether a value is among them; ``tolerance`` is a share of the ends by which it may be beyond."""
        return self.smallest * (1 - tolerance) <= value <= self.largest * (1 + tolerance)


@dataclass(frozen=True)
class TrainingData:
    """Say how a model's images were made and what its training patients were like. No single patient can be told.

    Attributes:
        windows_hu: HU windows, each a channel.
        context: Neighbouring slices on either side that are channels.
        patients: Number of training patients; 0 where it is not known, and then the ranges are None.
        pixel_mm: Sides of their pixels.
        slice_mm: Distances of their slices.
        field_mm: Shorter sides of their planes.
        volumes_ml: Volumes of every structure, in those who have it.
    """

    windows_hu: tuple[WindowHU, ...]
    context: int = 0
    patients: int = 0
    pixel_mm: Range | None = None
    slice_mm: Range | None = None
    field_mm: Range | None = None
    volumes_ml: Mapping[str, Range] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON and checkpoints."""
        return asdict(self) | {"windows_hu": [list(window) for window in self.windows_hu]}

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")


def describe_training_data(data: "SliceDataModule") -> TrainingData:
    """Describe the training patients of a fold. Reads the store's index, no voxel."""
    store, slices = data.store, data.slices("train")
    pixels, distances, fields = [], [], []
    volumes: dict[str, list[float]] = {name: [] for name in data.labels}
    positions = [store.names.index(name) for name in data.labels]
    for key in slices:
        geometry = store.geometry(key)
        spacing = geometry.spacing_mm
        distances.append(spacing[0])
        pixels += [spacing[1], spacing[2]]
        fields.append(min(spacing[1:] * geometry.shape[1:]))
        voxels = store.voxels[key].sum(axis=0)
        for name, position in zip(data.labels, positions, strict=True):
            if voxels[position]:
                volumes[name].append(float(voxels[position] * spacing.prod() / 1000))
    return TrainingData(
        windows_hu=tuple(data.windows_hu),
        context=data.context,
        patients=len(slices),
        pixel_mm=_range(pixels),
        slice_mm=_range(distances),
        field_mm=_range(fields),
        volumes_ml={name: _range(found) for name, found in volumes.items() if found},
    )


def read_training_data(path: Path) -> TrainingData:
    """Read what ``TrainingData.write`` wrote.

    Raises:
        NasosegError: If the file is damaged.
    """
    try:
        return training_data_from(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise NasosegError(
            f"{path}: cannot be read as a run's training data ({reason}): copy the run folder again"
        ) from error


def training_data_from(plain: Mapping[str, Any]) -> TrainingData:
    """Return what ``TrainingData.as_dict`` made plain.

    Raises:
        ValueError: If a number is missing or impossible; also TypeError, KeyError, AttributeError or OverflowError.
    """
    windows = tuple((float(low), float(high)) for low, high in plain["windows_hu"])
    context = int(plain.get("context") or 0)
    if not windows or not all(low < high for low, high in windows) or not 0 <= context <= 100:
        raise ValueError(f"windows_hu {windows}, context {context}")
    ranges = {name: _checked(plain.get(name)) for name in ("pixel_mm", "slice_mm", "field_mm")}
    volumes = {str(name): _checked(found) for name, found in (plain.get("volumes_ml") or {}).items()}
    return TrainingData(
        windows_hu=windows,
        context=context,
        patients=int(plain.get("patients") or 0),
        volumes_ml={name: found for name, found in volumes.items() if found},
        **ranges,
    )


def _range(values: Iterable[float]) -> Range:
    found = np.fromiter(values, float)
    return Range(*(round(float(value), 4) for value in (found.min(), np.median(found), found.max())))


def _checked(plain: Mapping[str, Any] | None) -> Range | None:
    if plain is None:
        return None
    found = Range(float(plain["smallest"]), float(plain["median"]), float(plain["largest"]))
    if not (0 <= found.smallest <= found.median <= found.largest and math.isfinite(found.largest)):
        raise ValueError(f"expected 0 <= smallest <= median <= largest, found {found}")
    return found
