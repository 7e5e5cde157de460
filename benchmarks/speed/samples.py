"""The ways to make samples of a store's slices: ours, a memory map, MONAI's and nnU-Net's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from formats import Slices, Ways, chunk_reads, memmaps
from options import peer, quiet
from results import Results
from torch.utils.data import DataLoader, default_collate

from nasoseg.data.dataset import SliceDataset
from nasoseg.data.store import Store
from nasoseg.data.transforms import Augmentation
from nasoseg.data.windows import window_channels

WINDOW_HU = (-160.0, 240.0)
BATCH = 16


def sample_ways(
    store: Store,
    keys: Sequence[str],
    drawn: Slices,
    folder: Path,
    results: Results,
    *,
    asked: Callable[[str], bool],
) -> Ways:
    """Return the ways to make the samples of some slices.

    Args:
        store: Where they come from.
        keys: The patients that peers get.
        drawn: What a turn reads: patient and slice.
        folder: Where peers keep their files.
        results: Where peers that are not installed are noted.
        asked: Whether a name is asked for; peers of which nothing is are not imported.
    """
    ours = of_store(store, drawn, None)
    augmented = of_store(store, drawn, Augmentation())
    numbers = list(range(len(drawn)))
    seeded = list(enumerate(np.random.default_rng(0).integers(2**31, size=len(drawn)).tolist()))
    mapped = memmaps(store, keys, folder)
    ways: Ways = {
        "h5py chunks, image and labels": chunk_reads(store, drawn, names=("image", "labels")),
        "nasoseg reads": lambda: [(store.read(key, "image", z), store.read(key, "labels", z)) for key, z in drawn],
        "nasoseg samples": lambda: [ours[number] for number in numbers],
        "nasoseg samples, augmented": lambda: [augmented[each] for each in seeded],
        "nasoseg batches": lambda: list(_batches(ours, numbers)),
        "nasoseg batches, augmented": lambda: list(_batches(augmented, seeded)),
        "memmap, windowed": lambda: [
            (
                torch.from_numpy(window_channels(np.asarray(mapped[key, "image"][z])[..., None], [WINDOW_HU])),
                torch.from_numpy(mapped[key, "labels"][z].astype(np.int32)),
            )
            for key, z in drawn
        ],
    }
    monai = {"MONAI CacheDataset batches": False, "MONAI CacheDataset batches, augmented": True}
    if any(map(asked, monai)) and peer("monai.transforms", results, what="MONAI CacheDataset", package="monai"):
        for name, augment in monai.items():
            ways[name] = _monai(store, drawn, augment=augment)
    nnunet = {"nnU-Net batches": False, "nnU-Net batches, augmented": True}
    if any(map(asked, nnunet)) and peer("nnunetv2", results, what="nnU-Net's loader"):
        ways |= _nnunet(store, keys, len(drawn), folder / "nnunet", nnunet)
    return {name: way for name, way in ways.items() if asked(name)}


def of_store(store: Store, drawn: Slices, augmentation: Augmentation | None) -> SliceDataset:
    """Return our data set of some slices."""
    dataset = SliceDataset(
        store,
        {},
        positions=range(len(store.structures)),
        windows_hu=[WINDOW_HU],
        augmentation=augmentation,
    )
    dataset.index = list(drawn)
    return dataset


def _batches(dataset: SliceDataset, order: Sequence[Any]) -> Iterator[Any]:
    for start in range(0, len(order), BATCH):
        yield default_collate([dataset[each] for each in order[start : start + BATCH]])


def _monai(store: Store, drawn: Slices, *, augment: bool) -> Callable[[], object]:
    """Keep all slices in memory, as CacheDataset does, and vary them much as ``Augmentation`` does."""
    from monai import transforms
    from monai.data import CacheDataset

    low, high = WINDOW_HU
    both = ["image", "labels"]
    steps: list[Any] = [
        transforms.EnsureChannelFirstd(both, channel_dim="no_channel"),
        transforms.ScaleIntensityRanged("image", low, high, -1, 1, clip=True),
        transforms.EnsureTyped(both, dtype=[torch.float32, torch.int32], track_meta=False),
    ]
    if augment:
        plane = store.geometry(drawn[0][0]).shape[1:]
        shift = [0.05 * side for side in plane]
        steps += [
            transforms.RandAffined(
                both, prob=0.8, rotate_range=np.deg2rad(15), scale_range=(0.15, 0.15), translate_range=shift,
                mode=["bilinear", "nearest"], padding_mode="border", spatial_size=plane,
                cache_grid=True,
            ),
            transforms.RandScaleIntensityd("image", factors=0.05, prob=0.8),
            transforms.RandShiftIntensityd("image", offsets=0.1, prob=0.8),
            transforms.RandGaussianNoised("image", prob=0.3, std=0.04),
        ]  # fmt: skip
    items = [
        {"image": store.read(key, "image", z), "labels": store.read(key, "labels", z).astype(np.int32)}
        for key, z in drawn
    ]
    with quiet():
        cached = CacheDataset(items, transforms.Compose(steps), num_workers=1, progress=False)
    loader: DataLoader[Any] = DataLoader(cached, batch_size=BATCH, shuffle=True)
    return lambda: list(loader)


def _nnunet(store: Store, keys: Sequence[str], count: int, folder: Path, names: Mapping[str, bool]) -> Ways:
    from nnunet_peer import limit_processes, loader, write_cases

    limit_processes(1)
    if not folder.is_dir():
        write_cases(store, keys, folder)
    side = store.geometry(keys[0]).shape[1]
    ways: Ways = {}
    for name, augment in names.items():
        batches = loader(folder, side=side, structures=len(store.names), batch_size=BATCH, augment=augment)
        ways[name] = lambda batches=batches: [next(batches) for _ in range(max(1, count // BATCH))]
    return ways
