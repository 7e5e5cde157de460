"""One stored slice -> one sample; and the orders in which slices are read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, DistributedSampler, default_collate

from nasoseg.data.store import Store
from nasoseg.data.transforms import Augmentation, select_planes
from nasoseg.data.windows import WindowHU, window_channels

Sample = dict[str, Any]
"""``image`` (c, h, w) float32, ``labels`` (h, w) integer bit planes, ``annotated`` (k,) bool, ``patient`` (key),
``slice`` (int), ``spacing_mm`` (3,) along slice, row, column."""

SlicesOf = Mapping[str, Sequence[int] | npt.NDArray[np.int64]]
"""Slice numbers of every patient key."""


class SliceDataset(Dataset[Sample]):
    """Read slices of a store as samples.

    Args:
        store: Opened lazily in each worker.
        slices: Which slices of which patients.
        positions: For every wanted structure its bit in the store; bit i of a sample is wanted structure i.
        windows_hu: HU windows that become channels.
        context: Neighbouring slices on either side that become channels; 0 is the paper's 2-D. Beyond the scan's
            ends the last slice is repeated.
        augmentation: Applied where an index comes with a seed.
        mirror_order: For every wanted structure the position of its partner, where the augmentation mirrors.
    """

    def __init__(
        self,
        store: Store,
        slices: SlicesOf,
        *,
        positions: Sequence[int],
        windows_hu: Sequence[WindowHU],
        context: int = 0,
        augmentation: Augmentation | None = None,
        mirror_order: Sequence[int] | None = None,
    ) -> None:
        self.store = store
        self.index = [(key, int(z)) for key in slices for z in slices[key]]
        self.positions = list(positions)
        self.windows_hu = list(windows_hu)
        self.context = context
        self.augmentation = augmentation
        self.mirror_order = mirror_order
        self._all_in_order = self.positions == list(range(len(store.structures)))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int | tuple[int, int]) -> Sample:
        """Return the sample of a slice: by its number, or by (number, seed) with augmentation."""
        number, seed = item if isinstance(item, tuple) else (item, None)
        key, z = self.index[number]
        image_hu = self._neighbourhood(key, z, "image")
        planes = self.store.read(key, "labels", z)
        if not self._all_in_order:
            planes = select_planes(planes, self.positions)
        if self.augmentation is not None and seed is not None:
            if self.augmentation.is_cut(seed):
                image_hu = self.augmentation.cut(image_hu, self._neighbourhood(key, z, "labels"), seed=seed)
            image_hu, planes = self.augmentation(image_hu, planes, seed=seed, mirror_order=self.mirror_order)
        return {
            "image": torch.from_numpy(window_channels(image_hu, self.windows_hu)),
            "labels": torch.from_numpy(_signed(planes)),
            "annotated": torch.from_numpy(self.store.is_annotated(key)[self.positions]),
            "patient": key,
            "slice": z,
            "spacing_mm": torch.from_numpy(self.store.geometry(key).spacing_mm),
        }

    def _neighbourhood(self, key: str, z: int, what: Literal["image", "labels"]) -> npt.NDArray[Any]:
        if not self.context:
            return self.store.read(key, what, z)[..., None]
        last = len(self.store.voxels[key]) - 1
        low, high = max(z - self.context, 0), min(z + self.context, last)
        read = self.store.read(key, what, slice(low, high + 1))
        wanted = np.clip(np.arange(z - self.context, z + self.context + 1), 0, last) - low
        return np.moveaxis(read[wanted], 0, -1)


class VolumeDataset(Dataset[Sample]):
    """Read batches of consecutive slices that never cross from one patient to the next.

    Args:
        slices: The samples.
        batch_size: Most slices in a batch.
    """

    def __init__(self, slices: SliceDataset, *, batch_size: int) -> None:
        self.slices = slices
        self.batches: list[list[int]] = []
        self.batches_of: dict[str, list[int]] = {}
        for number, (key, _) in enumerate(slices.index):
            batches = self.batches_of.setdefault(key, [])
            if not batches or len(self.batches[batches[-1]]) == batch_size:
                batches.append(len(self.batches))
                self.batches.append([])
            self.batches[batches[-1]].append(number)

    @property
    def patients(self) -> list[str]:
        """Keys of the patients, in order."""
        return list(self.batches_of)

    @property
    def depths(self) -> dict[str, int]:
        """Number of slices of every patient that is read whole."""
        read = Counter(key for key, _ in self.slices.index)
        return {key: count for key, count in read.items() if count == len(self.slices.store.voxels[key])}

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Sample:
        """Return a collated batch."""
        batch: Sample = default_collate([self.slices[i] for i in self.batches[number]])
        return batch


class TrainingSampler(DistributedSampler[tuple[int, int]]):
    """Shuffle slices anew every epoch, and give every slice the seed of its augmentation.

    Order and seeds are a function of (seed, epoch) alone, whatever the number of workers, so that a resumed run goes
    on exactly as an uninterrupted one. A ``DistributedSampler``, so that Lightning leaves it in place.

    Args:
        dataset: Slices.
        seed: Of the run.
        replicas: Processes that share the epoch.
        rank: Of this process.
        weights: How often each slice is drawn, relatively; an epoch keeps its length, and slices repeat. None reads
            every slice once.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        *,
        seed: int,
        replicas: int = 1,
        rank: int = 0,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(dataset, num_replicas=replicas, rank=rank, seed=seed)
        self.chances = None if weights is None else weights / weights.sum()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        draws = np.random.default_rng([self.seed, self.epoch])
        count = len(self.dataset)  # type: ignore[arg-type]  # a SliceDataset has a length
        if self.chances is None:
            order = np.resize(draws.permutation(count), self.total_size)
        else:
            order = draws.choice(count, size=self.total_size, p=self.chances)
        seeds = draws.integers(2**31, size=self.total_size)
        for place in range(self.rank, self.total_size, self.num_replicas):
            yield int(order[place]), int(seeds[place])


class VolumeSampler(DistributedSampler[int]):
    """Deal whole patients to processes, in order and without padding: every slice is read exactly once.

    Args:
        dataset: Batches by patient.
        replicas: Processes.
        rank: Of this process.
        repeat: Whether a process for which no patient is left reads one that another process has, too; ``repeats``
            tells. Lightning passes over a loop without batches, and the others would wait for it forever. What
            is counted by patient and slice stays the same.
    """

    def __init__(self, dataset: VolumeDataset, *, replicas: int = 1, rank: int = 0, repeat: bool = False) -> None:
        super().__init__(dataset, num_replicas=replicas, rank=rank, shuffle=False)
        patients = dataset.patients[rank::replicas]
        self.repeats = repeat and not patients
        if self.repeats:
            patients = [dataset.patients[rank % len(dataset.patients)]]
        self.batches = [number for key in patients for number in dataset.batches_of[key]]

    def __iter__(self) -> Iterator[int]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def repeat_factors(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weigh slices by their rarest structure: 1 / sqrt of the share of slices that have it (Gupta et al. 2019, LVIS).

    Args:
        present: (n, k), which structures are on which slice.

    Returns:
        (n,) weights of 1 or more; 1 for slices without any structure.
    """
    share = present.mean(axis=0).clip(min=1 / max(len(present), 1))
    factors = np.where(present, 1 / np.sqrt(share), 1.0).max(axis=1, initial=1.0)
    return np.asarray(factors, np.float64)


def _signed(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give bit planes a dtype that torch computes in: int32 for 16 bits, int64 for more (bits stay where they are)."""
    if planes.dtype.itemsize == 2:
        return planes.astype(np.int32)
    return planes.astype(np.int64) if planes.dtype.itemsize == 4 else planes.view(np.int64)
