"""A store, a split and a fold as a LightningDataModule."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import numpy.typing as npt
import torch.distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from nasoseg import labels as structure_names
from nasoseg.cores import usable_cores
from nasoseg.data.dataset import (
    Sample,
    SliceDataset,
    SlicesOf,
    TrainingSampler,
    VolumeDataset,
    VolumeSampler,
    repeat_factors,
)
from nasoseg.data.embedded import SAMPLE, embedded_store, open_store
from nasoseg.data.splits import Split, make_split
from nasoseg.data.store import Store
from nasoseg.data.transforms import Augmentation
from nasoseg.data.windows import WindowHU
from nasoseg.errors import NasosegError

Part = Literal["train", "validation", "test"]


class SliceDataModule(lightning.LightningDataModule):
    """Read slices of a store for training, and whole volumes for validation, test and prediction.

    Args:
        store: HDF5 store made by ``nasoseg prepare``; ``sample`` is the one that nasoseg carries.
        labels: Structures to learn; all of the store's by default.
        split: Split file; made on the fly from ``folds``, ``protocol`` and ``seed`` by default.
        fold: Which fold is tested, from 0.
        folds: Number of folds of a split made on the fly.
        protocol: ``clean`` deals patients, and picks the checkpoint on patients held out from the training folds;
            ``paper`` deals slices, and picks it on the test fold, as the paper did (optimistic).
        seed: Of the split, of the shuffling and of the augmentation.
        batch_size: Slices a batch, in each process.
        windows_hu: HU windows; each becomes a channel, from -1 at its lowest HU to 1 at its highest.
        context: Neighbouring slices on either side that become channels; 0 is the paper's 2-D.
        drop_unlabelled: Leave slices without any of the structures out of training, as the paper does. Volumes are
            always validated and tested whole.
        oversample_rare: Draw training slices the more often, the rarer a structure on them is; an epoch keeps its
            length, and slices repeat.
        augmentation: How training slices are varied; None leaves them as they are.
        workers: Processes that read ahead for each process that trains; by default they share the cores, at most 8
            each, and there are none on a machine of two cores.

    Raises:
        NasosegError: On ``setup``, if store, split and arguments do not fit together.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] = SAMPLE,
        *,
        labels: structure_names.Labels | None = None,
        split: str | os.PathLike[str] | None = None,
        fold: int = 0,
        folds: int = 5,
        protocol: Literal["clean", "paper"] = "clean",
        seed: int = 0,
        batch_size: int = 16,
        windows_hu: Sequence[WindowHU] = ((-160.0, 240.0),),
        context: int = 0,
        drop_unlabelled: bool = False,
        oversample_rare: bool = False,
        augmentation: Augmentation | None = None,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer patients to predict than processes
        _check_arguments(batch_size=batch_size, windows_hu=windows_hu, context=context, fold=fold, workers=workers)
        self.store_path = store
        self.wanted = None if labels is None else structure_names.names(labels)
        self.split_path = split
        self.fold = fold
        self.folds = folds
        self.protocol = protocol
        self.seed = seed
        self.batch_size = batch_size
        self.windows_hu = [(float(low), float(high)) for low, high in windows_hu]
        self.context = context
        self.drop_unlabelled = drop_unlabelled
        self.oversample_rare = oversample_rare
        self.augmentation = augmentation
        self.workers = workers
        self._opened: tuple[Store, Split] | None = None

    @property
    def in_channels(self) -> int:
        """Channels of an image: windows times slices."""
        return len(self.windows_hu) * (2 * self.context + 1)

    @property
    def store(self) -> Store:
        """The opened store."""
        return self._open()[0]

    @property
    def split(self) -> Split:
        """The split in use, loaded or made."""
        return self._open()[1]

    @property
    def labels(self) -> list[str]:
        """Names of the structures, as the store spells them."""
        store = self.store
        return store.names if self.wanted is None else [store.names[i] for i in self._positions()]

    def prepare_data(self) -> None:
        """Build the carried sample's store, once a machine, if it is asked for."""
        if str(self.store_path) == SAMPLE:
            embedded_store()

    def setup(self, stage: str | None = None) -> None:
        """Open store and split, and check that they fit together and can be learned from."""
        store, split = self._open()
        if not 0 <= self.fold < len(split.folds):
            raise NasosegError(f"data.fold: found {self.fold}, expected 0 to {len(split.folds) - 1}: the split's folds")
        if stage in (None, "fit"):
            self._check_training(store)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled, augmented batches of slices.

        Order and augmentation follow from the seed and the epoch, of which Lightning tells the sampler. In a loop of
        your own call ``loader.sampler.set_epoch(epoch)`` before each: every epoch is the same one otherwise.
        """
        dataset = self._dataset("train")
        rank, replicas = _rank_and_replicas()
        weights = self._weights(dataset) if self.oversample_rare else None
        sampler = TrainingSampler(dataset, seed=self.seed, replicas=replicas, rank=rank, weights=weights)
        if self.trainer is not None:
            # Lightning sets the epoch too, but in a run that is resumed only when workers have begun to read the first.
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)
        # A last batch of one or two slices would make bad batch statistics; the next epoch shuffles anew.
        drop_last = len(sampler) > self.batch_size
        return self._loader(dataset, sampler, batch_size=self.batch_size, drop_last=drop_last)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation volumes, in batches of consecutive slices."""
        return self._volume_loader("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test volumes, in batches of consecutive slices."""
        return self._volume_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the volumes of the test fold, in batches of consecutive slices."""
        return self._volume_loader("test", repeat=False)

    def slices(self, part: Part) -> SlicesOf:
        """Return the slices of a part of this fold, whether labelled or not."""
        return self.split.part(self.fold, part)

    def unannotated(self, part: Part) -> list[str]:
        """List the structures that no patient of a part of this fold has annotated."""
        slices, store = self.slices(part), self.store
        keys = [store.keys.index(key) for key in slices if len(slices[key])]
        unseen = ~store.annotated[keys][:, self._positions()].any(axis=0)
        return [self.labels[i] for i in np.flatnonzero(unseen)]

    def _open(self) -> tuple[Store, Split]:
        if self._opened is None:
            store = open_store(self.store_path)
            if self.split_path is not None:
                split = Split.load(Path(self.split_path), store)
                self.protocol = split.protocol
            else:
                split = make_split(store, folds=self.folds, protocol=self.protocol, seed=self.seed)
            self._opened = store, split
        return self._opened

    def _positions(self) -> list[int]:
        store = self.store
        if self.wanted is None:
            return list(range(len(store.structures)))
        return structure_names.positions(self.wanted, store.names, where=str(self.store_path))

    def _dataset(self, part: Part) -> SliceDataset:
        slices = self.slices(part)
        positions = self._positions()
        if part == "train" and self.drop_unlabelled:
            labelled = {key: np.flatnonzero(self.store.voxels[key][:, positions].any(axis=1)) for key in slices}
            slices = {key: np.intersect1d(slices[key], labelled[key]) for key in slices}
        augmentation = self.augmentation if part == "train" else None
        return SliceDataset(
            self.store,
            slices,
            positions=positions,
            windows_hu=self.windows_hu,
            context=self.context,
            augmentation=augmentation,
            mirror_order=None if augmentation is None else self._mirror_order(augmentation),
        )

    def _mirror_order(self, augmentation: Augmentation) -> list[int] | None:
        return structure_names.mirror_order(self.labels) if augmentation.mirror else None

    def _weights(self, dataset: SliceDataset) -> npt.NDArray[np.float64]:
        voxels = [self.store.voxels[key][z] for key, z in dataset.index]
        return repeat_factors(np.array(voxels)[:, self._positions()] > 0)

    def _volume_loader(self, part: Part, *, repeat: bool = True) -> DataLoader[Any]:
        dataset = VolumeDataset(self._dataset(part), batch_size=self.batch_size)
        rank, replicas = _rank_and_replicas()
        sampler = VolumeSampler(dataset, replicas=replicas, rank=rank, repeat=repeat)
        return self._loader(dataset, sampler, batch_size=None)

    def _loader(
        self, dataset: Dataset[Sample], sampler: Sampler[Any], *, batch_size: int | None, drop_last: bool = False
    ) -> DataLoader[Any]:
        workers = self.workers if self.workers is not None else self._usual_workers()
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=batch_size,
            drop_last=drop_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own, because every new iterator draws from it: the model's draws must not depend on how often a run
            # was resumed.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _usual_workers(self) -> int:
        cores, processes = usable_cores(), self.trainer.num_devices if self.trainer else 1
        return 0 if cores <= 2 else min(max(cores // processes, 1), 8)

    def _check_training(self, store: Store) -> None:
        slices = self.slices("train")
        positions = self._positions()
        if unseen := self.unannotated("train"):
            raise NasosegError(
                f"data.labels: no training patient of fold {self.fold} has {', '.join(map(repr, unseen))} annotated:"
                " expected one or more. Leave it out of labels, or use another split."
            )
        if len(self.unannotated("validation")) == len(positions):
            raise NasosegError(
                f"data.split: no validation patient of fold {self.fold} has any of {', '.join(self.labels)} annotated,"
                " so that no epoch could be picked as the best: use another split or another fold."
            )
        if self.drop_unlabelled and not any(store.voxels[key][list(slices[key])][:, positions].any() for key in slices):
            raise NasosegError(
                f"data.drop_unlabelled: no training slice of fold {self.fold} shows {', '.join(self.labels)}: expected"
                " one or more. Leave it off, or use another split."
            )
        if self.augmentation is not None:
            self._mirror_order(self.augmentation)  # an error that is better told before anything is written
        planes = {store.geometry(key).shape[1:] for key in slices}
        if len(planes) > 1 and (self.augmentation is None or self.augmentation.crop is None):
            raise NasosegError(
                f"{self.store_path}: planes of {len(planes)} sizes ({', '.join(map(str, sorted(planes)[:4]))}) do not"
                " fit into one batch: set data.augmentation.crop, or prepare the store with --size"
            )


def _check_arguments(
    *, batch_size: int, windows_hu: Sequence[WindowHU], context: int, fold: int, workers: int | None
) -> None:
    for name, value, least in (("batch_size", batch_size, 1), ("context", context, 0), ("fold", fold, 0)):
        if value < least:
            raise NasosegError(f"data.{name}: found {value}, expected {least} or more")
    if workers is not None and workers < 0:
        raise NasosegError(f"data.workers: found {workers}, expected 0 or more")
    try:
        fit = len(windows_hu) > 0 and all(-math.inf < low < high < math.inf for low, high in windows_hu)
    except (TypeError, ValueError):  # one window that is not in a list
        fit = False
    if not fit:
        raise NasosegError(
            f"data.windows_hu: found {windows_hu}, expected finite pairs (lowest HU, highest HU), such as [(-160, 240)]"
        )


def _rank_and_replicas() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
