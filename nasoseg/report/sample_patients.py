"""What the samples' figure shows of one patient: a slice of CT, and the contours of truth and predictions there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.labels import positions
from nasoseg.volumes.header import EXTENSIONS
from nasoseg.volumes.nifti import read_label_map
from nasoseg.volumes.volume import Geometry

_SKIN_HU = -300  # between air (-1000) and fat (-100)
_MARGIN_MM = 8.0


@dataclass(frozen=True)
class Contours:
    """Hold the masks of one slice.

    Attributes:
        masks: For every structure (h, w), on a grid of its own.
        rows_mm: Place of the grid's rows on the drawn plane, whose first stored pixel is at 0; (h,).
        columns_mm: Place of its columns; (w,).
    """

    masks: Mapping[str, npt.NDArray[np.bool_]]
    rows_mm: npt.NDArray[np.floating[Any]]
    columns_mm: npt.NDArray[np.floating[Any]]

    @property
    def visible(self) -> list[str]:
        """Structures with a pixel."""
        return [name for name, mask in self.masks.items() if mask.any()]


@dataclass(frozen=True)
class ShownPatient:
    """Hold all that is drawn of one patient.

    Attributes:
        key: The patient.
        slice: Number of the slice, from 0, from the feet up.
        image: The slice, HU, stored grid; rows to Posterior, columns to Left.
        spacing_mm: Between its rows, and between its columns.
        box_mm: What is shown of it: left, right, top, bottom.
        truth: What was annotated.
        predicted: The same structures by every method.
        not_annotated: Structures that are not drawn.
    """

    key: str
    slice: int
    image: npt.NDArray[Any]
    spacing_mm: tuple[float, float]
    box_mm: tuple[float, float, float, float]
    truth: Contours
    predicted: Mapping[str, Contours]
    not_annotated: tuple[str, ...]

    @property
    def all_contours(self) -> list[Contours]:
        """Of the truth, then of every method."""
        return [self.truth, *self.predicted.values()]

    @property
    def aspect(self) -> float:
        """Height over width."""
        left, right, top, bottom = self.box_mm
        return (bottom - top) / (right - left)


def find_predictions(folders: Sequence[Path], structures: Sequence[str]) -> dict[str, Path]:
    """Find the folders of the patients that one method has predicted.

    A patient that lacks a mask is passed over: its prediction was interrupted.

    Args:
        folders: Prediction folders of the method, one a fold, with a folder per patient.
        structures: Whose masks a patient needs.

    Raises:
        NasosegError: If a patient was predicted in two folds.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if any(_mask_file(path, name) is None for name in structures):
                continue
            if path.name in found:
                raise NasosegError(
                    f"{path}: patient {path.name} was predicted in {found[path.name]} too, expected once a method:"
                    " remove the folder that does not belong to this benchmark"
                )
            found[path.name] = path
    return found


def read_patient(
    store: Store, key: str, *, predictions: Mapping[str, Mapping[str, Path]], structures: Sequence[str]
) -> ShownPatient:
    """Read one patient: the slice to draw, and everything on it.

    Args:
        store: Has the CT and the truth.
        key: The patient.
        predictions: For every method, the folder of each patient.
        structures: What may be drawn.

    Raises:
        NasosegError: If the patient is not in the store, a method has no prediction of it, or a mask is missing, cannot
            be read, or is on another grid than the one that the patient came on.
    """
    if key not in store.keys:
        raise NasosegError(f"{store.path}: has no patient {key!r}: name the store that the benchmark was run on")
    bits = positions(structures, store.names, where=str(store.path))
    annotated = store.is_annotated(key)
    drawn = {name: bit for name, bit in zip(structures, bits, strict=True) if annotated[bit]}
    number = _slice_to_draw(store.voxels[key][:, list(drawn.values())])
    image = store.read(key, "image", number)
    planes = store.read(key, "labels", number)
    geometry = store.geometry(key)
    spacing_mm = (float(geometry.spacing_mm[1]), float(geometry.spacing_mm[2]))
    truth = Contours(
        {name: (planes >> planes.dtype.type(bit)) & 1 != 0 for name, bit in drawn.items()},
        np.arange(image.shape[0]) * spacing_mm[0],
        np.arange(image.shape[1]) * spacing_mm[1],
    )
    predicted = {}
    for method, folders in predictions.items():
        if key not in folders:
            raise NasosegError(
                f"predictions: method {method!r} has none of patient {key}: run `nasoseg predict` with its run's"
                " config.yaml, or leave the method out"
            )
        predicted[method] = _read_contours(folders[key], list(drawn), geometry, source=store.source(key), z=number)
    everything = [truth, *predicted.values()]
    box_mm = _body_box(image, spacing_mm, everything)
    missing = tuple(name for name in structures if name not in drawn)
    return ShownPatient(key, number, image, spacing_mm, box_mm, truth, predicted, missing)


def _slice_to_draw(voxels: npt.NDArray[np.uint32]) -> int:
    """Choose a slice from (z, k) voxels of every structure: the most structures, then the most voxels."""
    present, total = (voxels > 0).sum(axis=1), voxels.sum(axis=1, dtype=np.int64)
    return int(np.lexsort((total, present))[-1])


def _read_contours(folder: Path, structures: Sequence[str], stored: Geometry, *, source: Geometry, z: int) -> Contours:
    masks = {}
    for name in structures:
        path = _mask_file(folder, name)
        if path is None:
            raise NasosegError(
                f"{folder}: has no mask of {name}: expected {name}.nii.gz, as `nasoseg predict` writes it:"
                " predict again, or leave the structure out"
            )
        volume = read_label_map(path)
        if not volume.geometry.matches(source):
            raise NasosegError(
                f"{path}: its grid {volume.geometry.shape} is not the one the patient came on, {source.shape}: expected"
                " a mask on the original grid, as `nasoseg predict` writes it; predict again with this store"
            )
        masks[name] = volume.axial().array[z] != 0
    # The stored grid has the slices of the source; in the plane it may be cropped, padded or resampled.
    to_stored = np.linalg.solve(stored.affine_lps, source.axial().affine_lps)
    shape = source.axial().shape
    rows, columns = (
        (np.arange(shape[axis]) * to_stored[axis, axis] + to_stored[axis, 3]) * float(stored.spacing_mm[axis])
        for axis in (1, 2)
    )
    return Contours(masks, rows, columns)


def _mask_file(folder: Path, structure: str) -> Path | None:
    candidates = (folder / f"{structure}{ending}" for ending in EXTENSIONS)
    return next((path for path in candidates if path.is_file()), None)


def _body_box(
    image: npt.NDArray[Any], spacing_mm: tuple[float, float], contours: Sequence[Contours]
) -> tuple[float, float, float, float]:
    """Frame the body, thus the largest connected piece above air, and all contours, with a margin."""
    from scipy import ndimage  # half a second, and only this figure needs it

    pieces, count = ndimage.label(image > _SKIN_HU)
    body = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else np.ones(image.shape, bool)
    own = Contours({"body": body}, np.arange(image.shape[0]) * spacing_mm[0], np.arange(image.shape[1]) * spacing_mm[1])
    rows_mm, columns_mm = [], []
    for contour in (own, *contours):
        for mask in contour.masks.values():
            rows, columns = np.nonzero(mask)
            rows_mm += [contour.rows_mm[rows.min()], contour.rows_mm[rows.max()]] if len(rows) else []
            columns_mm += [contour.columns_mm[columns.min()], contour.columns_mm[columns.max()]] if len(rows) else []
    height, width = (image.shape[axis] * spacing_mm[axis] for axis in (0, 1))
    return (
        max(min(columns_mm) - _MARGIN_MM, -spacing_mm[1] / 2),
        min(max(columns_mm) + _MARGIN_MM, width - spacing_mm[1] / 2),
        max(min(rows_mm) - _MARGIN_MM, -spacing_mm[0] / 2),
        min(max(rows_mm) + _MARGIN_MM, height - spacing_mm[0] / 2),
    )
