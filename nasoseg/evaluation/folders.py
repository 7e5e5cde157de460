"""Measure masks that any program predicted against true masks, patient by patient, both as image files."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from nasoseg import labels
from nasoseg.data.jobs import Progress
from nasoseg.data.prepare import choose_structures
from nasoseg.data.studies import Contour, Studies, Study
from nasoseg.errors import NasosegError, nearest
from nasoseg.evaluation.mask_files import find_masks
from nasoseg.evaluation.packed_masks import PackedMasks, read_masks
from nasoseg.metrics import OverlapMetrics, Scores, SurfaceMetrics, merge_scores

_MOST_VOXELS = 2**23  # of all structures in one batch of slices
_V = TypeVar("_V")


@dataclass(frozen=True)
class FolderScores:
    """Hold what was measured.

    Attributes:
        scores: Of hard masks: there is no soft DSC and no AUC.
        notes: What was passed over or filled in, a line each.
    """

    scores: Scores
    notes: list[str]


def evaluate_folders(
    prediction_root: str | os.PathLike[str],
    truth_root: str | os.PathLike[str],
    *,
    absent: Collection[str] = (),
    dataset_json: str | os.PathLike[str] | None = None,
    missing_as_empty: bool = False,
    allow_missing: bool = False,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> FolderScores:
    """Measure predicted against true masks.

    Layouts: see ``mask_files.find_masks``. Structures are matched by name, synonyms included; a structure without a
    true mask was not annotated and is not measured in that patient. All volumes are brought into axial order; the axes
    of their files may differ. One patient is in memory at a time, a bit a voxel and structure.

    Args:
        prediction_root: The predictions.
        truth_root: The truth.
        absent: Structures for which a missing or empty true mask means annotated and empty, not unannotated.
        dataset_json: What the values of label maps mean, of both folders where they hold such.
        missing_as_empty: Whether an annotated structure without a predicted file counts as predicted empty.
        allow_missing: Whether patients without a prediction are left out.
        only: Patients to measure, such as those of a split; None for all. Others are left out, and noted.
        progress: Called after every patient.

    Raises:
        NasosegError: If a file or folder cannot be used, a predicted file or patient is missing and not allowed to, a
            true mask is empty and not allowed to, or a file lies on another grid than the patient's others. What is
            missing is found before any voxel is read.
    """
    given = Path(dataset_json) if dataset_json else None
    predicted = find_masks(Path(prediction_root), dataset_json=given)
    true = find_masks(Path(truth_root), dataset_json=given)
    others = [name for name in true if only is not None and name not in only]
    if only is not None and len(others) == len(true):
        raise NasosegError(
            f"{truth_root}: none of its {len(true)} patients is in the split: found {_some(others)}, expected"
            f" {_some(list(only))}: name the split of these patients"
        )
    true = {name: study for name, study in true.items() if name not in others}
    names = choose_structures(Studies(list(true.values())), None, where=str(truth_root))
    meant = _identities(absent, names)
    of_all = f"{len(others)} of {len(others) + len(true)} patients"
    notes = [f"{of_all} not in the split, left out: {_some(others)}"] if others else []
    notes += _unmatched({name: study for name, study in predicted.items() if name not in others}, true, names)
    patients = _patients(predicted, true, Path(prediction_root), allow_missing=allow_missing, notes=notes)
    _check_predicted(patients, names, meant, missing_as_empty=missing_as_empty, notes=notes)
    overlap, surface = OverlapMetrics(list(patients), names), SurfaceMetrics(list(patients), names)
    for done, (key, (prediction, truth)) in enumerate(patients.items(), start=1):
        _measure(overlap, surface, key, prediction, truth, meant)
        if progress:
            progress(key, done, len(patients))
    return FolderScores(merge_scores(_without(overlap.compute(), "soft_dsc"), surface.compute()), notes)


def _identities(absent: Collection[str], names: list[str]) -> frozenset[str]:
    known = {labels.identity(name) for name in names}
    for name in absent:
        if labels.identity(name) not in known:
            raise NasosegError(f"--absent: the truth has no structure {name!r}: {nearest(name, names)}")
    return frozenset(map(labels.identity, absent))


def _unmatched(predicted: Mapping[str, Study], true: Mapping[str, Study], names: list[str]) -> list[str]:
    """Note what is predicted and cannot be measured."""
    notes = []
    if alone := [name for name in predicted if name not in true]:
        notes.append(f"{len(alone)} predicted patients without truth, not measured: {_some(alone)}")
    known = {labels.identity(name) for name in names}
    structures = dict.fromkeys(c.structure for study in predicted.values() for c in study.contours)
    if unknown := [name for name in structures if labels.identity(name) not in known]:
        notes.append(f"{len(unknown)} predicted structures without truth, not measured: {_some(unknown)}")
    return notes


def _patients(
    predicted: Mapping[str, Study], true: Mapping[str, Study], root: Path, *, allow_missing: bool, notes: list[str]
) -> dict[str, tuple[Study, Study]]:
    missing = [name for name in true if name not in predicted]
    if missing and (not allow_missing or len(missing) == len(true)):
        found = f"it has {_some(list(predicted))}"
        raise NasosegError(
            f"{root}: no prediction for {len(missing)} of {len(true)} patients: {_some(missing)}; {found}: expected one"
            " for each, named alike: predict them, or pass --allow-missing to leave them out"
        )
    if missing:
        notes.append(f"{len(missing)} of {len(true)} patients without a prediction, left out: {_some(missing)}")
    return {name: (predicted[name], study) for name, study in true.items() if name in predicted}


def _check_predicted(
    patients: Mapping[str, tuple[Study, Study]],
    names: list[str],
    absent: Collection[str],
    *,
    missing_as_empty: bool,
    notes: list[str],
) -> None:
    """Check that every structure that was annotated in a patient has a predicted file."""
    missing = []
    for key, (prediction, truth) in patients.items():
        there = _by_identity(prediction)
        annotated = _by_identity(truth).keys() | absent
        missing += [f"{key}/{n}" for n in names if labels.identity(n) in annotated and labels.identity(n) not in there]
    if not missing:
        return
    if not missing_as_empty:
        raise NasosegError(
            f"predictions: no file for {len(missing)} annotated structures: {_some(missing)}: expected an empty mask"
            " where nothing was found: write the files, or pass --missing-as-empty to count them so"
        )
    notes.append(f"{len(missing)} predicted files missing, counted as empty: {_some(missing)}")


def _by_identity(study: Study) -> dict[str, Contour]:
    return {labels.identity(contour.structure): contour for contour in study.contours}


def _some(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _measure(
    overlap: OverlapMetrics,
    surface: SurfaceMetrics,
    key: str,
    prediction: Study,
    truth: Study,
    absent: Collection[str],
) -> None:
    """Count one patient, a few slices at a time."""
    identities = [labels.identity(name) for name in overlap.labels]
    in_truth, in_prediction = _by_identity(truth), _by_identity(prediction)
    true = read_masks(truth, [in_truth.get(name) for name in identities])
    for name, contour, empty in zip(identities, true.contours, true.empty(), strict=True):
        # A label map says of every patient that all its structures were looked for; a file may be left over.
        if contour and empty and not contour.values and name not in absent:
            raise NasosegError(
                f"{contour.path}: a true mask with no voxel, expected at least one: remove the file if"
                f" {contour.structure} was not annotated, or pass --absent {contour.structure} if there is none"
            )
    annotated = [name in in_truth or name in absent for name in identities]
    wanted = [in_prediction.get(name) if there else None for name, there in zip(identities, annotated, strict=True)]
    predicted = read_masks(prediction, wanted, reference=true.reference)
    true = replace(true, reference=predicted.reference)  # of a patient without a true file, all being absent
    _count(overlap, surface, key, predicted, true, torch.tensor([annotated]))


def _count(
    overlap: OverlapMetrics,
    surface: SurfaceMetrics,
    key: str,
    predicted: PackedMasks,
    true: PackedMasks,
    annotated: torch.Tensor,
) -> None:
    slices, rows, columns = predicted.shape
    surface.expect({key: slices})
    spacing_mm = torch.from_numpy(predicted.spacing_mm)
    step = max(1, _MOST_VOXELS // (len(overlap.labels) * rows * columns))
    for start in range(0, slices, step):
        chosen = range(start, min(start + step, slices))
        masks, truth = (torch.from_numpy(of.slices(chosen)) for of in (predicted, true))
        about: dict[str, Any] = {
            "annotated": annotated.expand(len(chosen), -1),
            "patients": [key] * len(chosen),
            "slices": torch.tensor(chosen),
        }
        overlap.update(masks, masks.float(), truth, **about)
        surface.update(masks, truth, spacing_mm=spacing_mm.expand(len(chosen), 3), **about)


def _without(scores: Scores, metric: str) -> Scores:
    """Leave out a metric that means nothing here."""

    def rest(values: Mapping[str, _V]) -> dict[str, _V]:
        return {name: value for name, value in values.items() if name != metric}

    return replace(
        scores,
        volume=rest(scores.volume),
        slice=rest(scores.slice),
        slices=rest(scores.slices),
        pooled=rest(scores.pooled),
        micro=rest(scores.micro),
    )
