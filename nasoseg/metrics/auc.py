"""Area under the ROC curve, from a stream of slices, in memory that does not grow with their number."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nasoseg.errors import NasosegError
from nasoseg.metrics.histogram import MOST_BINS, NAME_BITS, area, area_of_slice, bin_logits, merge_bins
from nasoseg.metrics.per_slice import PerSliceMetric, first_of_each
from nasoseg.metrics.scores import Scores, mean_over_slices

_LOOSE = 8  # slices that are kept apart before they are merged, because merging one by one costs more
_LEVEL_BITS = 6  # a level is at most 32
_MOST_STRUCTURES = 64  # as in the store
_POOLED_BINS = 4 * MOST_BINS


class StreamingAUC(PerSliceMetric):
    """Compute the area under the ROC curve (Luo et al. 2020, eq. 5; Mann and Whitney's form, ties count half).

    Logits are counted in histograms that put their bins where the logits of a slice are (``histogram.py``). The error
    is some 1e-5 for a volume and below 1e-4 for a slice, also where logits differ by 1e-5 only and have far outliers.
    Ties are ties.

    Memory: at most 16,384 bins of 24 bytes, thus 384 KiB, per annotated pair of patient and structure, whatever the
    number and the size of the slices (plus some eight slices in hand, and a row of numbers per slice). Because every
    patient keeps its histogram, slices may come in any order and on any process: the result is the same to the bit.

    A value is NaN where a structure is not annotated, or where only one of true and false occurs. The same slice
    counts once. Over processes that holds as samplers pad: the repeated slice is the last of a process, or a process
    repeats all that another has of a patient.

    Args:
        patients: Keys of all patients that may come, on any process.
        labels: Names of the k structures, at most 64.

    Raises:
        NasosegError: If a patient or a label is listed twice, or there are too many or none.
    """

    slice_rows: list[Tensor]
    slice_areas: list[Tensor]
    bins: list[Tensor]

    def __init__(self, patients: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(patients, labels)
        k = len(self.labels)
        if k > _MOST_STRUCTURES:
            raise NasosegError(f"labels: found {k} structures, expected at most {_MOST_STRUCTURES}: leave some out")
        self.add_table("slice_rows", columns=3 + k, dtype=torch.int64)  # part, patient, slice, annotated
        self.add_table("slice_areas", columns=k, dtype=torch.float32)
        # part and level, structure and name, false and true pixels: two numbers in each int64
        self.add_table("bins", columns=3, dtype=torch.int64)
        self._forget()

    def _forget(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._patient_of_piece: list[int] = [-1]  # of every tensor in `bins`; the first is the empty one

    def reset(self) -> None:
        """Forget all slices."""
        super().reset()
        self._forget()

    def update(
        self, logits: Tensor, target: Tensor, *, annotated: Tensor, patients: Sequence[str], slices: Tensor
    ) -> None:
        """Count one batch.

        Args:
            logits: (b, k, h, w), any float type; any order-preserving score will do. Infinity is a number like others.
            target: (b, k, h, w) bool.
            annotated: (b, k) bool.
            patients: b keys.
            slices: (b,) int64, number of the slice in its volume.

        Raises:
            ValueError: If shapes or types disagree.
            NasosegError: If a patient is unknown or a logit of an annotated structure is NaN.
        """
        if target.dtype != torch.bool or not logits.is_floating_point():
            raise ValueError(f"logits are {logits.dtype}, target is {target.dtype}: expected a float type and bool")
        maps = {"logits": logits, "target": target}
        keys = self.checked(maps, annotated=annotated, patients=patients, slices=slices)
        drawn = annotated.tolist()
        for b, key in enumerate(keys):
            if key not in self._seen:
                structures = [c for c, is_drawn in enumerate(drawn[b]) if is_drawn]
                self._add_slice(logits[b].detach(), target[b], key=key, structures=structures)
                self._seen.add(key)

    def _add_slice(self, logits: Tensor, target: Tensor, *, key: tuple[int, int], structures: list[int]) -> None:
        patient, slice_ = key
        part = _part(patient, last=True)
        k = len(self.labels)
        row, areas = torch.zeros(1, 3 + k, dtype=torch.int64), torch.full((1, k), torch.nan)
        row[0, :3] = torch.tensor([part, patient, slice_])
        pieces = [self.bins[0]]
        for c in structures:
            values = logits[c].flatten().float()
            try:
                names, counts = bin_logits(values, target[c].flatten())
            except ValueError as error:
                raise NasosegError(
                    f"logits: {self.where(patient, slice_)} holds NaN for {self.labels[c]}, expected numbers: the"
                    " network has diverged; lower the learning rate, or train in a wider number format"
                ) from error
            areas[0, c] = area_of_slice(counts.cpu())
            row[0, 3 + c] = 1
            pieces.append(_packed(part, names.new_full(names.shape, c), names, counts, torch.zeros_like(names)))
        self._settle_last(patient)
        self.slice_rows.append(row.to(self.device))
        self.slice_areas.append(areas.to(self.device))
        self.bins.append(torch.cat([piece.to(self.device) for piece in pieces]))
        self._patient_of_piece.append(patient)

    def _settle_last(self, coming: int) -> None:
        """Join the last slice to its patient's histogram.

        It was held apart until now because only the last slice of a process can be a sampler's repeat of one that
        another process has counted, and a histogram cannot give a slice back.
        """
        last = self._patient_of_piece[-1]
        if last < 0:
            return
        body = _part(last, last=False)
        self.slice_rows[-1][0, 0] = body
        self.bins[-1][:, 0] = body << _LEVEL_BITS
        mine = [i for i, patient in enumerate(self._patient_of_piece) if patient == last]
        if len(mine) > _LOOSE or (coming != last and len(mine) > 1):
            merged = _merged(torch.cat([self.bins[i] for i in mine]), part=body, structures=len(self.labels))
            others = [i for i, patient in enumerate(self._patient_of_piece) if patient != last]
            self.bins = [*(self.bins[i] for i in others), merged]
            self._patient_of_piece = [*(self._patient_of_piece[i] for i in others), last]

    def compute(self) -> Scores:
        """Return the areas of all slices seen so far, on all processes.

        Raises:
            NasosegError: If two processes counted the same slice, so that it cannot be told apart any more.
        """
        p, k = len(self.patients), len(self.labels)
        rows, bins = self.table("slice_rows"), self.table("bins")
        bins = bins[torch.isin(bins[:, 0] >> _LEVEL_BITS, self._parts_that_count(rows))]
        stay, slice_keys = first_of_each(rows[:, 1:3])
        of = slice_keys[:, 0]
        annotated = rows[stay, 3:].bool()
        areas = self.table("slice_areas").double()[stay]
        volume = torch.full((p, k), torch.nan, dtype=torch.float64)
        volumes = [bins[:0]]
        patient_of_bin = (bins[:, 0] >> (_LEVEL_BITS + 1)) & 0xFFFFFFFF
        for patient in patient_of_bin.bincount().nonzero()[:, 0].tolist():
            volumes.append(_merged(bins[patient_of_bin == patient], part=0, structures=k))
            structures, names, counts, _ = _unpacked(volumes[-1])
            volume[patient] = _areas(structures, names, counts, k)
        structures, names, counts, levels = _unpacked(torch.cat(volumes))
        structures, names, counts, _ = merge_bins(
            structures, names, counts, _highest(levels, structures, k), most=_POOLED_BINS
        )
        return Scores(
            patients=self.patients,
            labels=self.labels,
            annotated=torch.zeros(p, k).index_add_(0, of, annotated.float()) > 0,
            slice_keys=slice_keys,
            volume={"auc": volume},
            slice={"auc": mean_over_slices(areas, of, p)},
            slices={"auc": areas},
            pooled={"auc": _areas(structures, names, counts, k)},
            micro={"auc": area(names, counts)},
        )

    def _parts_that_count(self, rows: Tensor) -> Tensor:
        """Choose histograms that hold every slice once: the largest first, those without a new slice left out."""
        held: dict[int, set[tuple[int, int]]] = {}
        for part, patient, slice_ in rows[:, :3].tolist():
            held.setdefault(part, set()).add((patient, slice_))
        covered: set[tuple[int, int]] = set()
        chosen = []
        for part, slices in sorted(held.items(), key=lambda item: -len(item[1])):
            if slices <= covered:
                continue
            if repeated := sorted(slices & covered):
                raise NasosegError(
                    f"auc: {self.where(*repeated[0])} was counted by two processes, expected every slice once: deal"
                    " whole patients to the processes, or use a sampler that pads with one slice at most"
                )
            covered |= slices
            chosen.append(part)
        return torch.tensor(chosen, dtype=torch.int64)


def _part(patient: int, *, last: bool) -> int:
    """Number a histogram: the process, the patient, and whether it is the process's last slice alone."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    process = torch.distributed.get_rank() if distributed else 0
    return (process << 33) | (patient << 1) | last


def _packed(part: int, structures: Tensor, names: Tensor, counts: Tensor, levels: Tensor) -> Tensor:
    owner = (part << _LEVEL_BITS) | levels
    return torch.stack([owner, (structures << NAME_BITS) | names, (counts[:, 0] << 32) | counts[:, 1]], 1)


def _unpacked(bins: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take apart rows of bins: structures, names, counts (e, 2), levels."""
    owner, code, both = bins.unbind(1)
    counts = torch.stack([both >> 32, both & 0xFFFFFFFF], 1)
    return code >> NAME_BITS, code & ((1 << NAME_BITS) - 1), counts, owner & ((1 << _LEVEL_BITS) - 1)


def _highest(levels: Tensor, structures: Tensor, k: int) -> Tensor:
    return torch.zeros(k, dtype=torch.int64, device=levels.device).scatter_reduce(0, structures, levels, "amax")


def _merged(bins: Tensor, *, part: int, structures: int) -> Tensor:
    of, names, counts, levels = _unpacked(bins)
    of, names, counts, levels = merge_bins(of, names, counts, _highest(levels, of, structures))
    return _packed(part, of, names, counts, levels[of])


def _areas(structures: Tensor, names: Tensor, counts: Tensor, k: int) -> Tensor:
    return torch.tensor([area(names[structures == c], counts[structures == c]) for c in range(k)], dtype=torch.float64)
