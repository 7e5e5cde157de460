"""Small scans with soft tissue and air, as arrays and as NIfTI files."""

from pathlib import Path

import nibabel
import numpy as np


def tissue(shape: tuple[int, int, int]) -> np.ndarray:
    """Soft tissue with air around."""
    hu = np.full(shape, 40, np.int16)
    hu[:, 0] = -1000
    return hu


def write_nifti(path: Path, hu: np.ndarray, affine_ras: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(hu, affine_ras, dtype=hu.dtype), path)
    return path
