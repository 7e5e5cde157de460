"""What seeds are made of: real patients of the carried sample, cut small."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutations import Mutation
from sample_files import read_nifti

from nasoseg.data.store import Store
from nasoseg.volumes.volume import Geometry, Volume


@dataclass(frozen=True)
class Material:
    """Hold what seeds are made of.

    Attributes:
        ct: Five slices about a mandible, HU.
        mandible: The mandible in them.
        store: The sample as a small store.
    """

    ct: Volume
    mandible: np.ndarray
    store: Store


@dataclass(frozen=True)
class Format:
    """Define a format.

    Attributes:
        write: Writes the seeds into a folder; returns their names, and not those of files that only lie beside.
        mutations: How they are damaged.
        read: Reads one, given its path.
    """

    write: Callable[[Path, Material], list[str]]
    mutations: Sequence[Mutation]
    read: Callable[[Path], object]


def real_material(sample: Path, store: Store) -> Material:
    """Cut what is needed out of a patient of the sample."""
    scan = read_nifti(sample / "pt_100" / "ct.nii.gz")
    mask = read_nifti(sample / "pt_100" / "segmentations" / "Mandible.nii.gz").array != 0
    z, row, column = (int(np.median(where)) for where in np.nonzero(mask))
    cut = np.s_[z - 2 : z + 3, row - 20 : row + 20, column - 18 : column + 18]
    affine = scan.geometry.affine_lps.copy()
    affine[:3, 3] = (affine @ [z - 2, row - 20, column - 18, 1])[:3]
    ct = np.ascontiguousarray(scan.array[cut].astype(np.int16))
    return Material(Volume(ct, Geometry((5, 40, 36), affine)), np.ascontiguousarray(mask[cut]), store)
