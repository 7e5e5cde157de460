"""nnU-Net's probabilities back on the store's grid, scored as every method is."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nasoseg import labels as structure_names
from nasoseg.comparison.nnunet_dataset import Combinations, case_names
from nasoseg.comparison.nnunet_groups import Group
from nasoseg.data.mask_writing import write_masks
from nasoseg.data.store import Store
from nasoseg.data.transforms import select_planes
from nasoseg.errors import NasosegError
from nasoseg.heads import expand_planes
from nasoseg.metrics import OverlapMetrics, Scores, StreamingAUC, SurfaceMetrics, merge_scores

_SLICES_AT_ONCE = 16


@dataclass(frozen=True)
class Predicted:
    """Say where a group's predictions are, and what their channels mean.

    Attributes:
        group: The group.
        combinations: What its data set was encoded with.
        folder: Of the probabilities.
    """

    group: Group
    combinations: Combinations
    folder: Path


def score_predictions(
    store: Store,
    tested: Sequence[str],
    predicted: Sequence[Predicted],
    *,
    labels: Sequence[str],
    masks_to: Path,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Scores:
    """Score the predictions of the test patients on all their slices, and write the masks.

    One patient is in memory at a time. Masks go to ``masks_to/<patient>/<structure>.nii.gz``, on the grid of the file
    that the patient came from, as ``nasoseg predict`` writes them.

    Args:
        store: The store, with the truth.
        tested: Keys of the test patients.
        predicted: The groups' predictions.
        labels: Names of the structures to score; each in one group.
        masks_to: Folder of the masks.
        progress: Called after every patient.

    Raises:
        NasosegError: If a prediction is missing, damaged, or not of that patient's shape.
    """
    positions = structure_names.positions(labels, store.names, where=str(store.path))
    overlap, auc = OverlapMetrics(tested, labels), StreamingAUC(tested, labels)
    surface = SurfaceMetrics(tested, labels, depths={key: store.geometry(key).shape[0] for key in tested})
    for done, key in enumerate(tested, start=1):
        probabilities, masks = _on_the_stores_grid(store, key, predicted, labels=labels)
        planes = select_planes(store.read(key, "labels", slice(None)), positions).astype(np.int64)
        annotated = torch.from_numpy(store.is_annotated(key)[positions])
        spacing_mm = torch.from_numpy(store.geometry(key).spacing_mm)
        for start in range(0, len(planes), _SLICES_AT_ONCE):
            part = slice(start, start + _SLICES_AT_ONCE)
            target = expand_planes(torch.from_numpy(planes[part]), len(labels))
            # (k, b, h, w) to (b, k, h, w)
            p, mask = (
                torch.from_numpy(array[:, part]).transpose(0, 1).contiguous() for array in (probabilities, masks)
            )
            b = len(target)
            of: dict[str, Any] = {
                "annotated": annotated.expand(b, -1),
                "patients": [key] * b,
                "slices": torch.arange(start, start + b),
            }
            overlap.update(mask, p, target, **of)
            # A ranking is all that the AUC needs, and the probability ranks more finely than its float32 logit, which
            # is infinite at 0 (what nnU-Net cropped away) and near 1.
            auc.update(p, target, **of)
            surface.update(mask, target, spacing_mm=spacing_mm.expand(b, -1), **of)
        write_masks(masks_to, dict(zip(labels, masks, strict=True)), store=store, key=key)
        progress(key, done, len(tested))
    return merge_scores(merge_scores(overlap.compute(), auc.compute()), surface.compute())


def _on_the_stores_grid(
    store: Store, key: str, predicted: Sequence[Predicted], *, labels: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return probabilities and masks, both (k, z, h, w), of a patient."""
    shape = (len(labels), *store.geometry(key).shape)
    probabilities, masks = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for of in predicted:
        channels = _channels(of, store, key)
        chosen = None if of.combinations.overlap else channels.argmax(axis=0)
        for i, name in enumerate(of.group.structures):
            if name not in labels:
                continue
            to = list(labels).index(name)
            if chosen is None:  # a sigmoid a region, in the order of dataset.json
                probabilities[to] = channels[i]
                masks[to] = channels[i] > 0.5  # nnU-Net's own threshold
            else:  # a softmax, the background first
                probabilities[to] = channels[i + 1]
                masks[to] = chosen == i + 1
    return probabilities, masks


def _channels(of: Predicted, store: Store, key: str) -> npt.NDArray[Any]:
    """Read nnU-Net's probabilities (channels, z, h, w) of a patient.

    nnU-Net has undone its own resampling, cropping and turning of axes before it writes them
    (``nnunetv2.inference.export_prediction``), so that they lie as SimpleITK read the image: (slice, row, column).
    """
    path = of.folder / f"{case_names(store)[key]}.npz"
    if not path.is_file():
        raise NasosegError(f"{path}: no such prediction (patient {key}): run the same command again, it goes on there")
    try:
        with path.open("rb") as stream, np.load(stream) as file:  # opened here: np.load leaves a damaged file open
            found: npt.NDArray[Any] = file["probabilities"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise NasosegError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}), expected what nnUNetv2_predict writes with"
            " --save_probabilities: delete the file and run the same command again"
        ) from error
    expected = (of.combinations.channels, *store.geometry(key).shape)
    if found.shape != expected or found.dtype.kind != "f":
        raise NasosegError(
            f"{path}: {found.dtype} of shape {found.shape}, expected floats of shape {expected} (channels, slices,"
            f" rows, columns) for patient {key}: it is of another run: delete {of.folder} and run the command again"
        )
    return found
