"""The ways to keep slices in a file, one slice a chunk: what each weighs, and how it is read.

HDF5's cache of chunks is off: it would keep the few slices that a turn reads, and no epoch comes back to a slice soon.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from nasoseg.data.store import Store

Slices = Sequence[tuple[str, int]]
Ways = dict[str, Callable[[], object]]

FILTERS: dict[str, dict[str, Any]] = {
    "store: blosc2 zstd-1, bitshuffle, fletcher32": {
        **hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.BITSHUFFLE), "fletcher32": True,
    },
    "none": {},
    "none, fletcher32": {"fletcher32": True},
    "lzf": {"compression": "lzf"},
    "gzip-1": {"compression": "gzip", "compression_opts": 1},
    "gzip-4, shuffle": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    "blosc2 zstd-1, bitshuffle": dict(
        hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.BITSHUFFLE)
    ),
    "blosc2 zstd-5, shuffle": dict(hdf5plugin.Blosc2(cname="zstd", clevel=5, filters=hdf5plugin.Blosc2.SHUFFLE)),
    "blosc2 lz4, bitshuffle": dict(hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=hdf5plugin.Blosc2.BITSHUFFLE)),
}  # fmt: skip
"""How h5py compresses; the first is our store's."""


def format_ways(store: Store, keys: Sequence[str], drawn: Slices, folder: Path) -> tuple[dict[str, int], Ways]:
    """Write the images of some patients in every format.

    Args:
        store: Where they come from.
        keys: The patients.
        drawn: What a turn reads: patient and slice.
        folder: Where the files go.

    Returns:
        The bytes of every format, and how it is read.
    """
    sizes: dict[str, int] = {}
    ways: Ways = {}
    for name, filters in FILTERS.items():
        file = _written(folder / f"{name.replace(' ', '_').replace(':', '')}.h5", store, keys, filters)
        sizes[name] = sum(dataset.id.get_storage_size() for dataset in file.values())
        ways[name] = _chunk_reader(file, drawn)
        if name == "none":
            sizes["none, direct chunk reads"] = sizes[name]
            ways["none, direct chunk reads"] = _direct_reader(file, drawn, _as_it_is)
        if name.startswith("blosc2"):
            with contextlib.suppress(ImportError):
                import blosc2

                blosc2.set_nthreads(1)
                sizes[f"{name}, direct chunk reads"] = sizes[name]
                ways[f"{name}, direct chunk reads"] = _direct_reader(file, drawn, _unpacked_blosc2)
    mapped = {key: _memmap(folder / f"{key}.raw", store, key, "image") for key in keys}
    sizes["numpy.memmap"] = sum(array.nbytes for array in mapped.values())
    ways["numpy.memmap"] = lambda: [np.array(mapped[key][z]) for key, z in drawn]
    return sizes, ways


def chunk_reads(store: Store, drawn: Slices, *, names: Sequence[str]) -> Callable[[], object]:
    """Return what reads chunks of a store with h5py alone."""
    file = h5py.File(store.path, "r", rdcc_nbytes=0)
    keys = {key for key, _ in drawn}
    datasets = {(key, name): file["patients"][key][name] for key in keys for name in names}
    return lambda: [datasets[key, name][z] for key, z in drawn for name in names]


def _memmap(path: Path, store: Store, key: str, name: str) -> npt.NDArray[Any]:
    array = store.read(key, name, slice(None))
    if not path.is_file() or path.stat().st_size != array.nbytes:
        array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def memmaps(store: Store, keys: Sequence[str], folder: Path) -> dict[tuple[str, str], npt.NDArray[Any]]:
    """Write images and labels as they are in memory, and map them."""
    return {(key, name): _memmap(folder / f"{key}.{name}.raw", store, key, name) for key in keys
            for name in ("image", "labels")}  # fmt: skip


def _written(path: Path, store: Store, keys: Sequence[str], filters: dict[str, Any]) -> h5py.File:
    with h5py.File(path, "w") as file:
        for key in keys:
            image = store.read(key, "image", slice(None))
            file.create_dataset(key, data=image, chunks=(1, *image.shape[1:]), **filters)
    return h5py.File(path, "r", rdcc_nbytes=0)


def _chunk_reader(file: h5py.File, drawn: Slices) -> Callable[[], object]:
    datasets = {key: file[key] for key in file}
    return lambda: [datasets[key][z] for key, z in drawn]


def _direct_reader(
    file: h5py.File, drawn: Slices, unpack: Callable[[bytes, tuple[int, ...]], npt.NDArray[Any]]
) -> Callable[[], object]:
    datasets = {key: file[key] for key in file}

    def read() -> list[npt.NDArray[Any]]:
        slices = []
        for key, z in drawn:
            dataset = datasets[key]
            _, chunk = dataset.id.read_direct_chunk((z, 0, 0))
            slices.append(unpack(chunk, dataset.shape[1:]))
        return slices

    read()[0][0, 0]  # fails here, not in the middle of a measurement
    return read


def _as_it_is(chunk: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.frombuffer(chunk, "<i2").reshape(shape)


def _unpacked_blosc2(chunk: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    import blosc2

    array = blosc2.ndarray_from_cframe(chunk)
    return np.asarray(array[()]).view("<i2").reshape(shape)
