"""NRRD and MetaImage files in and out, by SimpleITK.

SimpleITK's arrays run backwards, (k, j, i); its origin, spacing and direction are those of (i, j, k), to LPS.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError
from nasoseg.volumes.header import check_size, checked_geometry, checked_shape, unreadable
from nasoseg.volumes.itk_header import check_itk_header
from nasoseg.volumes.volume import Geometry, Volume


def read_itk(path: Path) -> Volume:
    """Read one NRRD or MetaImage file; array and affine are in the file's index order.

    Raises:
        NasosegError: If it cannot be read, or is not a placed 3-D image of one number a voxel.
    """
    import SimpleITK  # here: it takes half a second to import, and NIfTI does not need it

    check_itk_header(path)
    itk: Any = SimpleITK  # partly typed
    reader = itk.ImageFileReader()
    # Else ITK looks at the content, and reads a file of any of its formats under this name.
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() != 1:
            raise NasosegError(
                f"{path}: {reader.GetNumberOfComponents()} values a voxel, expected 1: write each structure or channel"
                " to a file of its own"
            )
        shape = checked_shape(path, reader.GetSize())
        if path.suffix.lower() != ".mhd":  # whose voxels lie in another file
            check_size(path, shape, np.dtype(np.uint8))
        if path.suffix.lower() == ".nrrd" and "NRRD_space" not in reader.GetMetaDataKeys():
            raise NasosegError(
                f"{path}: its header has no 'space', so that its orientation is unknown; expected"
                " left-posterior-superior or the like with 'space directions': export the image again"
            )
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(path, error) from error
    array = itk.GetArrayFromImage(image).reshape(shape[::-1]).transpose(2, 1, 0)  # SimpleITK hands over (k, j, i)
    n = image.GetDimension()  # more than 3 where trailing axes of length 1 were dropped
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (n, n))[:3, :3] * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return Volume(array, checked_geometry(path, shape, affine))


def write_itk(path: Path, array: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write one NRRD or MetaImage file, compressed; ``array`` is in the index order of ``geometry``."""
    import SimpleITK

    itk: Any = SimpleITK
    image = itk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing([float(side) for side in geometry.spacing_mm])
    image.SetOrigin([float(value) for value in geometry.affine_lps[:3, 3]])
    image.SetDirection((geometry.affine_lps[:3, :3] / geometry.spacing_mm).ravel().tolist())
    itk.WriteImage(image, str(path), useCompression=True)
