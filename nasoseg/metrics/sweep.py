"""DSC at many thresholds at once, to choose one on validation patients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nasoseg.metrics.per_slice import PerSliceMetric, first_of_each


class ThresholdSweep(PerSliceMetric):
    """Compute the DSC per patient volume of the masks that lie above each of several thresholds.

    ``dsc`` is that of ``OverlapMetrics``: NaN where a structure is not annotated, and where nothing is true and
    nothing predicted. What is kept is a row of counts per slice, so that the values are exact over processes.

    Args:
        patients: Keys of all patients that may come, on any process.
        labels: Names of the k structures.
        thresholds: t numbers, ascending, on the scale of the scores; a pixel is predicted where its score is higher.
    """

    counts: list[Tensor]
    thresholds: Tensor

    def __init__(self, patients: Sequence[str], labels: Sequence[str], thresholds: Tensor) -> None:
        super().__init__(patients, labels)
        if thresholds.ndim != 1 or not (thresholds.diff() > 0).all() or not len(thresholds):
            raise ValueError(f"thresholds {thresholds.tolist()}: expected one or more numbers, ascending")
        self.register_buffer("thresholds", thresholds.clone(), persistent=False)
        k = len(self.labels)
        self.add_table("counts", columns=2 + k + 2 * k * len(thresholds), dtype=torch.int64)

    def update(
        self, scores: Tensor, target: Tensor, *, annotated: Tensor, patients: Sequence[str], slices: Tensor
    ) -> None:
        """Count one batch.

        Args:
            scores: (b, k, h, w) float.
            target: (b, k, h, w) bool.
            annotated: (b, k) bool.
            patients: b keys.
            slices: (b,) int64, number of the slice in its volume.

        Raises:
            ValueError: If shapes or types disagree.
            NasosegError: If a patient is unknown.
        """
        maps = {"scores": scores, "target": target}
        keys = self.checked(maps, annotated=annotated, patients=patients, slices=slices)
        if not keys:
            return
        counted = torch.stack([self._count(*one) for one in zip(scores.float().contiguous(), target, strict=True)])
        counted *= annotated.to(counted.device)[:, :, None]
        rows = torch.cat([torch.tensor(keys, device=counted.device), counted.flatten(1)], dim=1)
        self.counts.append(rows.to(self.device))

    def _count(self, scores: Tensor, target: Tensor) -> Tensor:
        """Count true pixels, and predicted and rightly predicted ones at each threshold: (k, 1 + 2 t)."""
        k, levels = len(scores), len(self.thresholds) + 1
        below = torch.bucketize(scores, self.thresholds)  # how many thresholds lie below each score
        structure = torch.arange(k, device=scores.device)[:, None, None]
        places = (structure * levels + below) * 2 + target
        histogram = torch.bincount(places.flatten(), minlength=k * levels * 2).view(k, levels, 2)
        above = histogram.flip(1).cumsum(1).flip(1)  # at level i: pixels above i thresholds or more
        return torch.cat([above[:, :1, 1], above[:, 1:].sum(2), above[:, 1:, 1]], dim=1)

    def compute(self) -> Tensor:
        """Return the DSC (t, p, k), float64, of all slices seen so far, on all processes."""
        p, k, t = len(self.patients), len(self.labels), len(self.thresholds)
        rows = self.table("counts")
        stay, keys = first_of_each(rows[:, :2])
        sums = rows.new_zeros(p, rows.shape[1] - 2).index_add_(0, keys[:, 0], rows[stay, 2:])
        volumes = sums.double().view(p, k, 1 + 2 * t)
        true, predicted, right = volumes[..., :1], volumes[..., 1 : 1 + t], volumes[..., 1 + t :]
        return (2 * right / (predicted + true)).permute(2, 0, 1)
