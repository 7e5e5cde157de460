"""DSC, soft DSC, JSC, precision, recall and F1, per volume, per slice and pooled (Luo et al. 2020, eq. 4 and 6)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nasoseg.errors import NasosegError
from nasoseg.metrics.per_slice import PerSliceMetric, first_of_each
from nasoseg.metrics.scores import Scores, mean_over_slices

_LANE_WORDS = 128  # words of 8 pixels whose bytes are added in place: a byte holds up to 255


class OverlapMetrics(PerSliceMetric):
    """Compare predicted with true masks.

    With TP, FP, FN the pixels that are rightly, wrongly and not predicted, p the probability, g the truth:

    - ``dsc`` = 2 TP / (2 TP + FP + FN)
    - ``soft_dsc`` = 2 sum(p^2 g) / (sum(p^2) + sum(g)), equation 4 with probabilities
    - ``jsc`` = TP / (TP + FP + FN)
    - ``precision`` = TP / (TP + FP); ``recall`` = TP / (TP + FN); ``f1`` is their harmonic mean. For one pair of masks
      it equals ``dsc``; their means over several also agree, and a table in which they differ mixes averagings.

    A structure that is not annotated is NaN and in no mean. One that is annotated, empty and predicted empty has
    nothing to measure: NaN too (``correctly_absent`` counts it); predicted though empty, its DSC, JSC and F1 are 0.
    ``soft_dsc`` follows: as p is never quite 0, the formula would give 0 for a right answer. Precision is NaN where
    nothing is predicted, recall where nothing is true.

    What is kept is a row of counts per slice. The same slice may come several times (a sampler that pads, a second
    process); the first counts.

    Args:
        patients: Keys of all patients that may come, on any process.
        labels: Names of the k structures.
    """

    counts: list[Tensor]
    soft_sums: list[Tensor]

    def __init__(self, patients: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(patients, labels)
        k = len(self.labels)
        self.add_table("counts", columns=2 + 4 * k, dtype=torch.int64)
        self.add_table("soft_sums", columns=2 * k, dtype=torch.float32)

    def update(
        self,
        predicted: Tensor,
        probabilities: Tensor,
        target: Tensor,
        *,
        annotated: Tensor,
        patients: Sequence[str],
        slices: Tensor,
    ) -> None:
        """Count one batch.

        Args:
            predicted: (b, k, h, w) bool.
            probabilities: (b, k, h, w) in 0..1, any float type.
            target: (b, k, h, w) bool.
            annotated: (b, k) bool.
            patients: b keys.
            slices: (b,) int64, number of the slice in its volume.

        Raises:
            ValueError: If shapes or types disagree.
            NasosegError: If a patient is unknown or a probability is not a number.
        """
        if predicted.dtype != torch.bool or target.dtype != torch.bool:
            raise ValueError(f"predicted is {predicted.dtype}, target {target.dtype}: expected bool, as from `p > 0.5`")
        maps = {"predicted": predicted, "probabilities": probabilities, "target": target}
        keys = self.checked(maps, annotated=annotated, patients=patients, slices=slices)
        if not keys:
            return
        annotated = annotated.to(predicted.device)
        words_predicted, words_target = _words(predicted), _words(target)
        both = _count(words_predicted & words_target)
        counts = torch.stack([both, _count(words_predicted), _count(words_target)], 1) * annotated[:, None]
        soft_sums = torch.zeros(len(keys), 2, len(self.labels), device=predicted.device)
        true_pixels = counts[:, 2].tolist()
        for b, c in annotated.nonzero().tolist():
            p = probabilities[b, c].flatten().float()
            soft_sums[b, 1, c] = torch.dot(p, p)
            if true_pixels[b][c]:
                soft_sums[b, 0, c] = torch.dot(p * target[b, c].flatten(), p)
        if not soft_sums.isfinite().all():
            b = int(soft_sums.isfinite().all(2).all(1).logical_not().nonzero()[0])
            raise NasosegError(
                f"probabilities: {self.where(*keys[b])} holds NaN or infinity, expected 0..1: the network has diverged;"
                " lower the learning rate, or train in a wider number format"
            )
        numbers = torch.tensor(keys, device=counts.device)
        rows = torch.cat([numbers, annotated.long(), counts.flatten(1)], 1)
        self.counts.append(rows.to(self.device))
        self.soft_sums.append(soft_sums.flatten(1).to(self.device))

    def compute(self) -> Scores:
        """Return all metrics of all slices seen so far, on all processes."""
        p, k = len(self.patients), len(self.labels)
        counts, soft_sums = self.table("counts"), self.table("soft_sums").double()
        stay, slice_keys = first_of_each(counts[:, :2])
        annotated = counts[stay, 2 : 2 + k].bool()
        # (n, 5, k): pixels right, predicted and true; sum p^2 g and sum p^2
        sums = torch.cat([counts[stay, 2 + k :].double(), soft_sums[stay]], 1).view(-1, 5, k)
        of = slice_keys[:, 0]
        annotated_volume = torch.zeros(p, k).index_add_(0, of, annotated.float()) > 0
        volume_sums = sums.new_zeros(p, 5, k).index_add_(0, of, sums)
        slices = _measures(sums, annotated)
        micro = _measures(sums.sum((0, 2), keepdim=True), annotated.any().view(1, 1))
        return Scores(
            patients=self.patients,
            labels=self.labels,
            annotated=annotated_volume,
            slice_keys=slice_keys,
            volume=_measures(volume_sums, annotated_volume),
            slice={metric: mean_over_slices(values, of, p) for metric, values in slices.items()},
            slices=slices,
            pooled={m: v[0] for m, v in _measures(sums.sum(0, keepdim=True), annotated.any(0)[None]).items()},
            micro={metric: float(value) for metric, value in micro.items()},
            correctly_absent=annotated_volume & (volume_sums[:, 1:3].sum(1) == 0),
        )


def _measures(sums: Tensor, annotated: Tensor) -> dict[str, Tensor]:
    """Compute every metric from (n, 5, k) sums; (n, k) each, NaN where not annotated or not defined."""
    right, predicted, true, soft_right, soft_predicted = sums.unbind(1)
    either = predicted + true
    precision, recall = right / predicted, right / true
    harmonic = 2 * precision * recall / (precision + recall)
    measures = {
        "dsc": 2 * right / either,
        "soft_dsc": torch.where(either > 0, 2 * soft_right / (soft_predicted + true), torch.nan),
        "jsc": right / (either - right),
        "precision": precision,
        "recall": recall,
        # Nothing in common: precision or recall is 0, or has no value, and the harmonic mean is 0 by its limit.
        "f1": torch.where((either > 0) & (right == 0), 0.0, harmonic),
    }
    return {metric: torch.where(annotated, values, torch.nan) for metric, values in measures.items()}


def _words(masks: Tensor) -> Tensor:
    """View (b, k, h, w) bool as (b, k, groups, words) of eight pixels, zeros appended to fill the last group."""
    rows = masks.flatten(2)
    missing = -rows.shape[2] % (8 * _LANE_WORDS)
    if missing:
        rows = F.pad(rows, (0, missing))
    if rows.storage_offset() % 8:
        rows = rows.clone()
    return rows.contiguous().view(torch.int64).reshape(*rows.shape[:2], -1, _LANE_WORDS)


def _count(words: Tensor) -> Tensor:
    """Count the true pixels of packed masks: (b, k). Adds eight pixels at once; torch adds bool one by one."""
    return words.sum(3).view(torch.uint8).sum(2)
