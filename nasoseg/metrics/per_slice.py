"""What the metrics share: slices come in, one row each is kept, and ``Scores`` go out."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
import torchmetrics
from torch import Tensor

from nasoseg.errors import NasosegError, nearest
from nasoseg.labels import names
from nasoseg.metrics.scores import Scores


class PerSliceMetric(torchmetrics.Metric):
    """Keep one row per slice, so that volume, slice and pooled values come from the same numbers.

    Rows are gathered over processes as they are. A process that saw no slice takes part with a table of no rows.

    Args:
        patients: Keys of all patients that may come, on any process.
        labels: Names of the k structures.

    Raises:
        NasosegError: If a patient or a label is listed twice, or there is none.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, patients: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__()
        self.patients = tuple(patients)
        self.labels = tuple(names(labels))
        self._position = {key: i for i, key in enumerate(self.patients)}
        if not self.patients or len(self._position) < len(self.patients):
            raise NasosegError(f"patients: found {list(self.patients)[:5]}..., expected one key or more, each once")
        self._tables: dict[str, tuple[int, torch.dtype]] = {}

    def add_table(self, name: str, *, columns: int, dtype: torch.dtype) -> None:
        """Register a state of rows: a list of (rows, columns) tensors, concatenated over processes."""
        self._tables[name] = (columns, dtype)
        self.add_state(name, [], dist_reduce_fx="cat")
        self._start(name)

    def _start(self, name: str) -> None:
        # torchmetrics would gather a 1-D float32 tensor from a process without a row, whatever the others hold.
        columns, dtype = self._tables[name]
        setattr(self, name, [torch.empty(0, columns, dtype=dtype, device=self.device)])

    def reset(self) -> None:
        """Forget all slices."""
        super().reset()
        for name in self._tables:
            self._start(name)

    def table(self, name: str) -> Tensor:
        """Return all rows of a state, on the CPU."""
        rows = getattr(self, name)
        together: Tensor = torch.cat(rows) if isinstance(rows, list) else rows
        return together.cpu()

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Update; there is no value of a batch, because a batch is no volume."""
        self.update(*args, **kwargs)

    def checked(
        self, maps: dict[str, Tensor], *, annotated: Tensor, patients: Sequence[str], slices: Tensor
    ) -> list[tuple[int, int]]:
        """Check a batch and return the position of the patient and the number of the slice of every image.

        Raises:
            ValueError: If shapes or types disagree.
            NasosegError: If a patient is not among those that the metric was made for.
        """
        shape = next(iter(maps.values())).shape
        b, k = len(patients), len(self.labels)
        for name, tensor in maps.items():
            if tensor.ndim != 4 or tensor.shape != shape or shape[:2] != (b, k) or 0 in shape[2:]:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, expected (b, k, h, w) = ({b}, {k}, h, w), the same for"
                    f" {', '.join(maps)}: b is the number of patient keys, k that of the labels"
                )
        if annotated.shape != (b, k) or slices.shape != (b,):
            raise ValueError(
                f"annotated has shape {tuple(annotated.shape)} and slices {tuple(slices.shape)},"
                f" expected (b, k) = ({b}, {k}) and ({b},)"
            )
        if annotated.dtype != torch.bool or slices.is_floating_point():
            raise ValueError(
                f"annotated is {annotated.dtype} and slices {slices.dtype}: expected bool and whole numbers"
            )
        for key in patients:
            if key not in self._position:
                raise NasosegError(
                    f"patients: {key!r} is not one of the {len(self.patients)} patients that the metric was made for:"
                    f" {nearest(key, self.patients)}"
                )
        return [(self._position[key], z) for key, z in zip(patients, slices.tolist(), strict=True)]

    def where(self, patient: int, slice_: int) -> str:
        """Word a place for an error."""
        return f"patient {self.patients[patient]}, slice {slice_}"

    def _wrap_compute(self, compute: Callable[..., Scores]) -> Callable[..., Scores]:
        # torchmetrics rebuilds every dataclass that a metric returns, to squeeze its tensors, and stops at a frozen
        # one (lightning_utilities.apply_to_collection): the scores pass through it in a box that it cannot see into.
        boxed = super()._wrap_compute(lambda: _Box(compute()))

        @wraps(compute)
        def unboxed() -> Scores:
            scores: Scores = boxed().scores
            return scores

        return unboxed


class _Box:
    def __init__(self, scores: Scores) -> None:
        self.scores = scores


def first_of_each(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first row of every (patient, slice): a sampler that pads repeats some.

    Args:
        keys: (rows, 2) int64.

    Returns:
        The positions of the rows that stay, (n,), and their keys, (n, 2), ascending.
    """
    first: dict[tuple[int, ...], int] = {}
    for row, key in enumerate(keys.tolist()):
        first.setdefault(tuple(key), row)
    stay = torch.tensor([first[key] for key in sorted(first)], dtype=torch.int64)
    return stay, keys[stay]
