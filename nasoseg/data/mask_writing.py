"""A patient's masks as files, on the grid of the file that he came from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nasoseg.data.resample import to_source
from nasoseg.data.store import Store
from nasoseg.volumes.nifti import write_volume


def write_masks(folder: Path, masks: Mapping[str, npt.NDArray[Any]], *, store: Store, key: str) -> None:
    """Write ``FOLDER/<key>/<structure>.nii.gz``, uint8, 0 and 1; files that are there are written over.

    Args:
        folder: Where the patients' folders go.
        masks: Masks (z, h, w), bool, on the patient's grid in the store, by structure.
        store: The store, which knows both grids.
        key: The patient's key.

    Raises:
        NasosegError: If a mask is not on the patient's grid, or a file cannot be written.
    """
    stored, source = store.geometry(key), store.source(key)
    (folder / key).mkdir(parents=True, exist_ok=True)
    for name, mask in masks.items():
        write_volume(folder / key / f"{name}.nii.gz", to_source(mask, stored, source), source)
