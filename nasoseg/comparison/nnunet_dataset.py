"""A group's patients as a raw data set of nnU-Net, version 2.

One integer a voxel is all that nnU-Net takes, and structures overlap. So every combination of structures that occurs
gets an integer, and a structure is declared as a *region*: the integers of all combinations that it is in (nnU-Net's
region-based training: one sigmoid a region; github.com/MIC-DKFZ/nnUNet/issues/653). Training is then exact for any
overlap. Where no two structures of a group overlap, there are plain labels and nnU-Net trains a softmax, as it does by
default.

Files are on the store's grid. Arrays on disk are (column, row, slice): SimpleITK, which nnU-Net reads with, hands them
over as (slice, row, column), and so come nnU-Net's predictions.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg import labels as structure_names
from nasoseg.comparison.nnunet_groups import Group
from nasoseg.data.store import Store
from nasoseg.data.transforms import select_planes
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.volumes.nifti import write_volume
from nasoseg.volumes.volume import Geometry

ENDING = ".nii.gz"
_RESERVED = ("background", "ignore")  # labels that mean something of their own to nnU-Net
_MOST_COMBINATIONS = 32_767  # nnU-Net keeps labels in int16


@dataclass(frozen=True)
class Combinations:
    """Number the combinations of a group's structures.

    Attributes:
        structures: Names of the k structures.
        planes: (n,) uint64, rising from integer 0: bit i of ``planes[c]`` says that integer c has structure i. 0 is
            background, i + 1 structure i alone (whether that occurs or not), then the combinations that occur.
    """

    structures: tuple[str, ...]
    planes: npt.NDArray[np.uint64]

    @property
    def overlap(self) -> bool:
        """Whether two structures share a voxel anywhere, so that nnU-Net trains regions."""
        return len(self.planes) > len(self.structures) + 1

    @property
    def channels(self) -> int:
        """Channels of nnU-Net's probabilities: one a region, or one a label with the background first."""
        return len(self.structures) + (not self.overlap)

    def encode(self, planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn bit planes into integers, uint8 or uint16, of the same shape."""
        codes = np.zeros(planes.shape, np.uint8 if len(self.planes) <= 256 else np.uint16)
        drawn = planes != 0
        order = np.argsort(self.planes)
        codes[drawn] = order[np.searchsorted(self.planes, planes[drawn].astype(np.uint64), sorter=order)]
        return codes

    def labels(self) -> dict[str, int | list[int]]:
        """Return what ``dataset.json`` says under ``labels``: a region, or an integer, for every structure."""
        values: dict[str, int | list[int]] = {"background": 0}
        if not self.overlap:
            return values | {name: i + 1 for i, name in enumerate(self.structures)}
        bits = [np.uint64(1 << i) for i in range(len(self.structures))]
        regions = [np.flatnonzero(self.planes & bit).tolist() for bit in bits]
        return values | dict(zip(self.structures, regions, strict=True))


def find_combinations(store: Store, group: Group) -> Combinations:
    """Find the combinations of a group's structures in its training and validation patients.

    Raises:
        NasosegError: If there are more than nnU-Net can number.
    """
    k = len(group.structures)
    found: set[int] = set()
    for key in group.learned_from:
        found.update(np.unique(_planes(store, key, group)).tolist())
    alone = [1 << i for i in range(k)]
    planes = [0, *alone, *sorted(found - {0, *alone})]
    if len(planes) > _MOST_COMBINATIONS:
        raise NasosegError(
            f"{group.name}: {len(planes)} combinations of overlapping structures, expected at most"
            f" {_MOST_COMBINATIONS}, which is what nnU-Net's labels hold: make smaller groups with --groups"
        )
    return Combinations(group.structures, np.array(planes, np.uint64))


def case_names(store: Store) -> dict[str, str]:
    """Name every patient as a case of nnU-Net, which reads meaning into some characters: key to ``case0007``."""
    return {key: f"case{number:04d}" for number, key in enumerate(store.keys)}


def write_dataset(
    store: Store,
    group: Group,
    combinations: Combinations,
    folder: Path,
    *,
    images: Path,
    tested: Sequence[str],
) -> None:
    """Write a raw data set: ``imagesTr``, ``labelsTr``, ``imagesTs``, ``dataset.json`` and ``splits_final.json``.

    The split has one fold, 0: the group's training patients, and its validation patients (where it has none, the
    training patients once more: nnU-Net shows its progress on them, and nothing is chosen by it). Files that are there
    are kept, so that an interrupted export goes on.

    Args:
        store: The store.
        group: What to write.
        combinations: Of the group.
        folder: The data set, named as nnU-Net expects it.
        images: Where CTs are kept that several groups share; those of the data set are links to them.
        tested: Keys of the test patients, in ``imagesTs`` alone.

    Raises:
        NasosegError: If a structure's name means something else to nnU-Net, or the disk is full.
    """
    for name in set(group.structures) & set(_RESERVED):
        raise NasosegError(
            f"{store.path}: structure {name!r}: nnU-Net keeps that name for itself: prepare with --rename"
        )
    cases = case_names(store)
    for part, keys in (("imagesTr", group.learned_from), ("imagesTs", tested)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for key in keys:
            name = f"{cases[key]}_0000{ENDING}"
            if not (images / name).is_file():
                _write(images / name, store.read(key, "image", slice(None)), store.geometry(key))
            _link(images / name, folder / part / name)
    (folder / "labelsTr").mkdir(exist_ok=True)
    for key in group.learned_from:
        path = folder / "labelsTr" / f"{cases[key]}{ENDING}"
        if not path.is_file():
            _write(path, combinations.encode(_planes(store, key, group)), store.geometry(key))
    train, validation = ([cases[key] for key in keys] for keys in (group.train, group.validation))
    _write_json(folder / "splits_final.json", [{"train": train, "val": validation or train}])
    described: dict[str, Any] = {
        "channel_names": {"0": "CT"},  # chooses nnU-Net's normalisation for CT
        "labels": combinations.labels(),
        "numTraining": len(group.learned_from),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    if combinations.overlap:
        # What nnU-Net's label map shows of each region. It loses the overlap, and is not used.
        described["regions_class_order"] = list(range(1, len(group.structures) + 1))
    _write_json(folder / "dataset.json", described)  # last: it tells that the data set is whole


def itk_grid(geometry: Geometry) -> Geometry:
    """Turn a stored grid (slice, row, column) into that of the file (column, row, slice), with right angles.

    SimpleITK refuses a grid that is sheared (a tilted gantry); nnU-Net uses of it the spacing alone. So the nearest
    right-angled directions are written, which for a grid without shear are its own.
    """
    spacing_mm = geometry.spacing_mm
    u, _, vt = np.linalg.svd(geometry.affine_lps[:3, :3] / spacing_mm)
    affine = geometry.affine_lps.copy()
    affine[:3, :3] = ((u @ vt) * spacing_mm)[:, ::-1]
    z, h, w = geometry.shape
    return Geometry((w, h, z), affine)


def _planes(store: Store, key: str, group: Group) -> npt.NDArray[Any]:
    """Read a patient's bit planes (z, h, w); bit i is structure i of the group."""
    positions = structure_names.positions(group.structures, store.names, where=str(store.path))
    return select_planes(store.read(key, "labels", slice(None)), positions)


def _write(path: Path, array: npt.NDArray[Any], geometry: Geometry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, array.transpose(2, 1, 0), itk_grid(geometry))


def _link(source: Path, target: Path) -> None:
    if target.is_file():
        return
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def _write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
