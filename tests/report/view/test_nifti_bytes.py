"""NIfTI as bytes, read back by nibabel: voxels, places, axes, and nothing else in the header."""

import gzip

import nibabel
import numpy as np
from generated_grids import grids, numbered
from hypothesis import given, settings
from sample_files import RAS_TO_LPS

from nasoseg.report.view.nifti_bytes import nifti_bytes
from nasoseg.volumes.volume import Geometry, Volume


@settings(max_examples=30, deadline=None)
@given(grids())
def test_voxels_and_their_places_come_back(grid):
    volume = Volume(numbered(grid.shape).astype(np.int16), grid).axial()
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(volume.array, volume.geometry))
    array = np.asarray(image.dataobj)
    back = Volume(array, Geometry(array.shape, RAS_TO_LPS @ image.affine))
    # The axes are those of the axial order with rows and columns turned: from first to last to R, A, S.
    assert np.array_equal(array, volume.array[:, ::-1, ::-1].T)
    turned = back.array.T[:, ::-1, ::-1]
    assert np.array_equal(turned, volume.array)
    for index in np.ndindex(2, 2, 2):
        corner = np.array(index) * (np.array(volume.array.shape) - 1)
        z, y, x = corner
        there = back.geometry.affine_lps @ [array.shape[0] - 1 - x, array.shape[1] - 1 - y, z, 1]
        assert np.allclose(there, volume.geometry.affine_lps @ [*corner, 1], atol=1e-2)


def test_compressed_bytes_are_the_same_each_time_and_name_nothing():
    grid = Geometry((2, 3, 4), np.diag([3.0, 2.0, 1.0, 1.0])[[2, 1, 0, 3]])
    mask = np.ones(grid.shape, np.uint8)
    packed = nifti_bytes(mask, grid, compress=True)
    assert packed == nifti_bytes(mask, grid, compress=True)
    assert packed[3] == 0  # gzip's flags: no file name, no comment
    header = nibabel.Nifti1Image.from_bytes(gzip.decompress(packed)).header
    assert (header["descrip"].item(), header["aux_file"].item(), header["intent_name"].item()) == (b"", b"", b"")
    assert nibabel.aff2axcodes(header.get_sform()) == ("R", "A", "S")
