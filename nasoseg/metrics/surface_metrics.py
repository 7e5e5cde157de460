"""HD95, HD, ASSD and NSD of patient volumes, from a stream of slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasoseg.errors import NasosegError, nearest
from nasoseg.metrics.per_slice import PerSliceMetric, first_of_each
from nasoseg.metrics.scores import Scores
from nasoseg.metrics.sparse_mask import SparseMask, common_voxels
from nasoseg.metrics.surface import surface_distances
from nasoseg.metrics.surface_tolerances import tolerances_mm as tolerances_of

METRICS = ("hd95", "hd", "assd", "nsd")

LOWER_IS_BETTER = frozenset({"hd95", "hd", "assd"})
"""The metrics that are distances, in mm. Of every other metric of the package, more is better."""


class SurfaceMetrics(PerSliceMetric):
    """Measure the distances between predicted and true surfaces: ``hd95``, ``hd``, ``assd`` in mm, and ``nsd`` in 0..1.

    Definitions: see ``surface.py``; NSD at the tolerances of ``surface_tolerances.py``. They are measured in three
    dimensions, on the grid of the slices, so that there is a value per volume only: none per slice, pooled or micro.

    A volume is measured as soon as all its slices have come, in any order; until then its masks are kept, a bit a pixel
    of the boxes around what is true in them. A patient of whom not all slices come has no surface: its values are NaN.
    So it is under protocol ``paper``, which deals slices, not patients.

    A structure that is not annotated (on any slice) is NaN and in no mean, and so is one that is annotated, empty and
    predicted empty, as in ``OverlapMetrics``. Where only one of prediction and truth is empty, NSD is 0, and the
    distances are infinite; they count as the diagonal of the volume, the greatest distance that there can be. Leaving
    such patients out would reward a method for finding nothing, and infinity would leave no mean to compare (Reinke et
    al. 2024, Nat. Methods 21, 182-194, on missing values). The diagonal depends on the field of view: a mean distance
    with such a patient in it says little. Look at medians, or at NSD.

    Args:
        patients: Keys of all patients that may come, on any process.
        labels: Names of the k structures.
        depths: Number of slices of the patients whose whole volume will come, on one process; more can follow by
            ``expect``. Of other patients nothing is kept.
        tolerances_mm: Tolerances of NSD that go before the defaults, by structure.

    Raises:
        NasosegError: If a patient or a label is listed twice or not at all, or depths or tolerances do not fit them.
    """

    higher_is_better = None  # type: ignore[assignment]  # NSD is better when higher, the distances when lower

    slice_rows: list[Tensor]
    volume_rows: list[Tensor]

    def __init__(
        self,
        patients: Sequence[str],
        labels: Sequence[str],
        *,
        depths: Mapping[str, int] | None = None,
        tolerances_mm: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(patients, labels)
        k = len(self.labels)
        self.tolerances_mm = tolerances_of(self.labels, tolerances_mm)
        self._depths: dict[int, int] = {}
        self.expect(depths or {})
        self.add_table("slice_rows", columns=2 + k, dtype=torch.int64)  # patient, slice, annotated
        # Patient, then float64 as the int64 of the same bits, because not every device has float64.
        self.add_table("volume_rows", columns=1 + len(METRICS) * k, dtype=torch.int64)
        self._forget()

    def _forget(self) -> None:
        self._open: dict[int, _OpenVolume] = {}
        self._measured: set[int] = set()

    def reset(self) -> None:
        """Forget all slices. What was expected stays expected."""
        super().reset()
        self._forget()

    def expect(self, depths: Mapping[str, int]) -> None:
        """Announce how many slices the volumes of some patients have, before their first slice comes.

        Args:
            depths: Number of slices by patient; they are numbered from 0.

        Raises:
            NasosegError: If a patient is unknown, or has no slice.
        """
        for key, depth in depths.items():
            if key not in self._position:
                raise NasosegError(f"depths: {key!r} is none of the patients: {nearest(key, self.patients)}")
            if depth < 1:
                raise NasosegError(f"depths: found {depth} slices of patient {key!r}, expected 1 or more")
            self._depths[self._position[key]] = int(depth)

    def update(
        self,
        predicted: Tensor,
        target: Tensor,
        *,
        annotated: Tensor,
        patients: Sequence[str],
        slices: Tensor,
        spacing_mm: Tensor,
    ) -> None:
        """Take one batch, and measure the volumes that it completes.

        Args:
            predicted: (b, k, h, w) bool.
            target: (b, k, h, w) bool.
            annotated: (b, k) bool.
            patients: b keys.
            slices: (b,) int64, number of the slice in its volume.
            spacing_mm: (b, 3), along slice, row, column.

        Raises:
            ValueError: If shapes or types disagree.
            NasosegError: If a patient is unknown, or its slices do not fit together.
        """
        if predicted.dtype != torch.bool or target.dtype != torch.bool:
            raise ValueError(f"predicted is {predicted.dtype}, target {target.dtype}: expected bool, as from `p > 0.5`")
        maps = {"predicted": predicted, "target": target}
        keys = self.checked(maps, annotated=annotated, patients=patients, slices=slices)
        if spacing_mm.shape != (len(keys), 3):
            raise ValueError(f"spacing_mm has shape {tuple(spacing_mm.shape)}, expected (b, 3) = ({len(keys)}, 3)")
        if not keys:
            return
        rows = torch.cat([torch.tensor(keys), annotated.long().cpu()], 1)
        self.slice_rows.append(rows.to(self.device))
        wanted = [b for b, (patient, _) in enumerate(keys) if patient in self._depths and patient not in self._measured]
        if not wanted:
            return
        plane = (int(predicted.shape[2]), int(predicted.shape[3]))
        packed = [np.packbits(masks[wanted].cpu().numpy(), axis=-1) for masks in (predicted, target)]
        for place, b in enumerate(wanted):
            volume = self._volume(keys[b], plane, spacing_mm[b].double().cpu().numpy())
            volume.add(keys[b][1], [masks[place] for masks in packed], annotated[b].cpu().numpy())
            if volume.complete:
                self._close(keys[b][0], volume)

    def _volume(
        self, key: tuple[int, int], plane: tuple[int, int], spacing_mm: npt.NDArray[np.float64]
    ) -> "_OpenVolume":
        patient, slice_ = key
        shape = (self._depths[patient], *plane)
        volume = self._open.setdefault(patient, _OpenVolume(shape, spacing_mm, len(self.labels)))
        found = f"{self.where(patient, slice_)}, has {plane} pixels of {spacing_mm.tolist()} mm (slice, row, column)"
        if volume.shape != shape or not np.array_equal(volume.spacing_mm, spacing_mm):
            raise NasosegError(
                f"surface metrics: {found}, expected {volume.shape[1:]} of {volume.spacing_mm.tolist()} mm as on the"
                " patient's other slices: put them on one grid"
            )
        if not 0 <= slice_ < shape[0]:
            raise NasosegError(
                f"surface metrics: {found}, expected a slice from 0 to {shape[0] - 1}: `depths` says {shape[0]} slices"
            )
        return volume

    def _close(self, patient: int, volume: "_OpenVolume") -> None:
        """Measure a volume and let go of its masks."""
        values = torch.from_numpy(volume.measure(self.tolerances_mm)).view(torch.int64)
        row = torch.cat([torch.tensor([patient]), values.flatten()])
        self.volume_rows.append(row[None].to(self.device))
        self._measured.add(patient)
        del self._open[patient]

    def compute(self) -> Scores:
        """Return the values of all volumes that are complete, on all processes.

        Raises:
            NasosegError: If all slices of a patient came, but not on one process.
        """
        p, k = len(self.patients), len(self.labels)
        rows, measured = self.table("slice_rows"), self.table("volume_rows")
        stay, slice_keys = first_of_each(rows[:, :2])
        of = slice_keys[:, 0]
        values = torch.full((p, len(METRICS), k), torch.nan, dtype=torch.float64)
        values[measured[:, 0]] = measured[:, 1:].contiguous().view(torch.float64).view(-1, len(METRICS), k)
        came = of.bincount(minlength=p).tolist()
        for patient in self._depths.keys() - set(measured[:, 0].tolist()):
            if came[patient] == self._depths[patient]:
                raise NasosegError(
                    f"surface metrics: the slices of patient {self.patients[patient]} came on several processes,"
                    " expected whole patients: deal them so, as SliceDataModule does"
                )
        return Scores(
            patients=self.patients,
            labels=self.labels,
            annotated=torch.zeros(p, k).index_add_(0, of, rows[stay, 2:].float()) > 0,
            slice_keys=slice_keys,
            volume={metric: values[:, i].clone() for i, metric in enumerate(METRICS)},
            slice={},
            slices={},
            pooled={},
            micro={},
        )


@dataclass
class _OpenVolume:
    """Gather the slices of one patient."""

    shape: tuple[int, int, int]
    spacing_mm: npt.NDArray[np.float64]
    structures: int
    came: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.pairs = [(SparseMask(), SparseMask()) for _ in range(self.structures)]
        self.annotated = np.ones(self.structures, np.bool_)

    @property
    def complete(self) -> bool:
        return len(self.came) == self.shape[0]

    def add(self, slice_: int, packed: Sequence[npt.NDArray[np.uint8]], annotated: npt.NDArray[np.bool_]) -> None:
        """Add a slice of every structure, predicted and true; the first of several with one number counts."""
        if slice_ in self.came:
            return
        self.came.add(slice_)
        self.annotated &= annotated
        for structure in np.flatnonzero(annotated):
            for mask, planes in zip(self.pairs[structure], packed, strict=True):
                mask.add(slice_, planes[structure])

    def measure(self, tolerances_mm: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return (metrics, k) values."""
        values = np.full((len(METRICS), self.structures), np.nan)
        for structure in np.flatnonzero(self.annotated).tolist():
            predicted, true = common_voxels(self.pairs[structure])
            distances = surface_distances(predicted, true, spacing_mm=self.spacing_mm)
            nsd = distances.nsd(tolerances_mm[structure])
            values[:, structure] = distances.hd95, distances.hd, distances.assd, nsd
        return np.where(np.isinf(values), np.linalg.norm(self.shape * self.spacing_mm), values)
