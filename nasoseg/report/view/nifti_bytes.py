"""A volume as the bytes of a NIfTI file that holds its voxels and their places, and nothing else."""

import gzip
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nasoseg.volumes.nifti import ras_from_lps
from nasoseg.volumes.volume import Geometry

_FASTEST = 1  # of gzip's levels; masks shrink a hundredfold even so


def nifti_bytes(array: npt.NDArray[Any], geometry: Geometry, *, compress: bool = False) -> bytes:
    """Write an axial volume with the axes that NiiVue turns every volume to: Right, Anterior, Superior.

    Its numbers of voxels are then those of the file.

    Args:
        array: (z, h, w) in axial order: slices to Superior, rows to Posterior, columns to Left.
        geometry: Its grid.
        compress: With gzip, without a name or a time.
    """
    affine = geometry.affine_lps.copy()
    for axis in (1, 2):
        affine[:3, 3] += affine[:3, axis] * (geometry.shape[axis] - 1)
        affine[:3, axis] *= -1
    affine[:3, :3] = affine[:3, 2::-1]  # columns, rows, slices
    ras = ras_from_lps(affine)
    nifti: Any = nib.Nifti1Image  # untyped
    image = nifti(np.asarray(array[:, ::-1, ::-1].T), ras, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(ras, code=1)
    content: bytes = image.to_bytes()
    return gzip.compress(content, _FASTEST, mtime=0) if compress else content
