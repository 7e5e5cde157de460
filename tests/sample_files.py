"""Reads the real files that tests use, without the readers under test."""

from pathlib import Path

import nibabel
import numpy as np

from nasoseg.volumes.volume import Geometry, Volume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(path: Path) -> Volume:
    image = nibabel.load(path)
    return Volume(np.asarray(image.dataobj), Geometry(image.shape, RAS_TO_LPS @ image.affine)).axial()
