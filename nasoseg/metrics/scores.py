"""The result of a metric: values per volume, per slice and pooled, each under the name of its averaging."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

_V = TypeVar("_V")

Averaging = Literal["volume", "slice", "all_slices", "pooled", "micro"]
"""How numbers become one.

- ``volume``: one value per patient volume, then the mean over patients. The headline.
- ``slice``: the mean over the slices of a patient where the value is defined, then the mean over patients.
- ``all_slices``: the mean over all slices of all patients where the value is defined, each counting once.
- ``pooled``: one value over all pixels of all patients.
- ``micro``: one value over all pixels of all patients and all structures.

All but ``micro`` are per structure; the mean over structures comes last.
"""


@dataclass(frozen=True)
class Summary:
    """Hold one averaging of every metric.

    Attributes:
        averaging: Its name.
        labels: Names of the k structures.
        means: Per metric, (k,) float64; NaN where nothing could be measured. Empty for ``micro``.
        counted: Per metric, (k,) int64: patients (``all_slices``: slices) that the mean is over.
        overall: Per metric, the mean over the structures that have a value.
        correctly_absent: (k,) int64: annotated patients without the structure, in which none was predicted; they
            have no DSC and are not counted above. None where the metrics do not know.
    """

    averaging: Averaging
    labels: tuple[str, ...]
    means: dict[str, Tensor]
    counted: dict[str, Tensor]
    overall: dict[str, float]
    correctly_absent: Tensor | None


@dataclass(frozen=True)
class Scores:
    """Hold every metric of p patients, n slices and k structures. NaN means: not annotated, or nothing to measure.

    A metric need not have every averaging: distances between surfaces are in ``volume`` alone.

    Attributes:
        patients: Keys of the p patients; one that no slice came from has NaN only.
        labels: Names of the k structures.
        annotated: (p, k) bool.
        slice_keys: (n, 2) int64, ascending: position of the patient, number of the slice.
        volume: Per metric, (p, k) float64.
        slice: Per metric, (p, k): mean over the patient's slices where the value is defined.
        slices: Per metric, (n, k): every slice.
        pooled: Per metric, (k,): over all pixels of all patients.
        micro: Per metric: over all pixels of all patients and structures.
        correctly_absent: (p, k) bool: annotated, empty, and predicted empty. None where the metrics do not know.
    """

    patients: tuple[str, ...]
    labels: tuple[str, ...]
    annotated: Tensor
    slice_keys: Tensor
    volume: dict[str, Tensor]
    slice: dict[str, Tensor]
    slices: dict[str, Tensor]
    pooled: dict[str, Tensor]
    micro: dict[str, float]
    correctly_absent: Tensor | None = None

    def summary(self, averaging: Averaging = "volume") -> Summary:
        """Average every metric over patients, then over structures, leaving out what has no value.

        Raises:
            ValueError: If there is no such averaging.
        """
        if averaging not in get_args(Averaging):
            raise ValueError(f"averaging {averaging!r}, expected one of {', '.join(get_args(Averaging))}")
        absent = None if self.correctly_absent is None else self.correctly_absent.sum(0)
        if averaging == "micro":
            return Summary(averaging, self.labels, {}, {}, dict(self.micro), absent)
        if averaging == "pooled":
            means, counted = self.pooled, dict.fromkeys(self.pooled, self.annotated.sum(0))
        else:
            tables: dict[str, dict[str, Tensor]] = {
                "volume": self.volume,
                "slice": self.slice,
                "all_slices": self.slices,
            }
            means = {metric: values.nanmean(0) for metric, values in tables[averaging].items()}
            counted = {metric: (~values.isnan()).sum(0) for metric, values in tables[averaging].items()}
        overall = {metric: float(values.nanmean()) for metric, values in means.items()}
        return Summary(averaging, self.labels, dict(means), counted, overall, absent)

    def rows(self) -> list[dict[str, str | float]]:
        """Return a tidy table: ``patient``, ``structure``, ``averaging``, ``metric``, ``value``.

        Pairs of patient and structure that were not annotated have no row; those with nothing to measure have NaN.
        ``patient`` is empty for ``pooled``, ``patient`` and ``structure`` for ``micro``.
        """
        result = []
        pairs = self.annotated.nonzero().tolist()
        for averaging, table in (("volume", self.volume), ("slice", self.slice)):
            for metric, values in table.items():
                listed = values.tolist()
                result += [_row(self.patients[p], self.labels[k], averaging, metric, listed[p][k]) for p, k in pairs]
        for metric, values in self.pooled.items():
            for k in self.annotated.any(0).nonzero()[:, 0].tolist():
                result.append(_row("", self.labels[k], "pooled", metric, float(values[k])))
        result += [_row("", "", "micro", metric, value) for metric, value in self.micro.items()]
        return result


def _row(patient: str, structure: str, averaging: str, metric: str, value: float) -> dict[str, str | float]:
    return {"patient": patient, "structure": structure, "averaging": averaging, "metric": metric, "value": value}


def merge_scores(first: Scores, second: Scores) -> Scores:
    """Put the metrics of two results on the same slices into one, for example overlap and AUC.

    Raises:
        ValueError: If they are about other patients, labels or slices, or share a metric's name.
    """
    if (first.patients, first.labels) != (second.patients, second.labels):
        raise ValueError("scores of other patients or labels cannot be merged: make both metrics for the same ones")
    if not torch.equal(first.slice_keys, second.slice_keys) or not torch.equal(first.annotated, second.annotated):
        raise ValueError(
            f"scores of {len(first.slice_keys)} and {len(second.slice_keys)} slices, or of other annotations, cannot be"
            " merged: update both metrics with the same slices"
        )
    absent = first.correctly_absent if first.correctly_absent is not None else second.correctly_absent
    return Scores(
        first.patients,
        first.labels,
        first.annotated,
        first.slice_keys,
        _joined(first.volume, second.volume),
        _joined(first.slice, second.slice),
        _joined(first.slices, second.slices),
        _joined(first.pooled, second.pooled),
        _joined(first.micro, second.micro),
        absent,
    )


def _joined(first: Mapping[str, _V], second: Mapping[str, _V]) -> dict[str, _V]:
    shared = sorted(first.keys() & second.keys())
    if shared:
        raise ValueError(f"both scores have {shared[0]!r}: one metric cannot be merged with itself")
    return {**first, **second}


def mean_over_slices(values: Tensor, patient_of_slice: Tensor, patients: int) -> Tensor:
    """Average (n, k) values of slices to (p, k), over the slices of each patient where they are defined."""
    defined = ~values.isnan()
    sums = values.new_zeros(patients, values.shape[1]).index_add_(0, patient_of_slice, values.nan_to_num(0.0))
    counts = values.new_zeros(sums.shape).index_add_(0, patient_of_slice, defined.to(values.dtype))
    return torch.where(counts > 0, sums / counts, math.nan)
