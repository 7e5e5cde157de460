"""Masks for tests of DICOM SEG."""

import numpy as np
from generated_ct_series import axial_geometry

GEOMETRY = axial_geometry((6, 20, 24), (3, 1, 1), origin=(-10, -10, 0))


def noise(share: float, shape: tuple[int, int, int] = GEOMETRY.shape) -> np.ndarray:
    return np.random.default_rng(int(share * 100)).random(shape) < share
