"""What a model found in a scan, on the scan's own grid."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError, nearest, writing
from nasoseg.inference.study import Study
from nasoseg.safe_names import safe_file_name
from nasoseg.volumes.dicom_seg import write_seg
from nasoseg.volumes.nifti import write_volume
from nasoseg.volumes.rtstruct import write_rtstruct
from nasoseg.volumes.volume import Geometry, from_axial


class Masks(Mapping[str, npt.NDArray[np.bool_]]):
    """Map names to masks on the scan's own grid; each access makes a new array.

    Args:
        planes: (z, h, w) in axial order; bit i is structure i.
        names: The structures.
        study: The scan.
    """

    def __init__(self, planes: npt.NDArray[Any], names: Sequence[str], study: Study) -> None:
        self.planes = planes
        self._bits = {name: bit for bit, name in enumerate(names)}
        self._geometry = study.volume.geometry

    def __getitem__(self, name: str) -> npt.NDArray[np.bool_]:
        if name not in self._bits:
            raise KeyError(f"no structure {name!r}: {nearest(name, self._bits)}")
        return from_axial(self.axial(name), self._geometry)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def axial(self, name: str) -> npt.NDArray[np.bool_]:
        """Return a mask in axial order: slices to Superior, rows to Posterior, columns to Left."""
        one = self.planes.dtype.type(1) << self.planes.dtype.type(self._bits[name])
        return np.asarray((self.planes & one) != 0)


class Segmentation:
    """Hold the structures of a scan.

    Args:
        study: The scan.
        planes: (z, h, w) in axial order on the scan's pixels; bit i is structure i.
        labels: The structures.
        warnings: What of scan or result is unusual.
        remarks: What else was noted.

    Attributes:
        study: The scan.
        labels: The structures.
        masks: A mask on the scan's own grid for every structure, in the index order of ``study.volume``.
        warnings: What of scan or result is unusual: look at these structures first.
        remarks: What was odd about the files, and what was cleaned away.
    """

    def __init__(
        self,
        study: Study,
        planes: npt.NDArray[Any],
        labels: Sequence[str],
        *,
        warnings: Sequence[str] = (),
        remarks: Sequence[str] = (),
    ) -> None:
        self.study = study
        self.labels = list(labels)
        self.masks = Masks(planes, labels, study)
        self.warnings = tuple(warnings)
        self.remarks = tuple(remarks)

    @cached_property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of every structure; 0 where nothing was found."""
        voxel_ml = abs(float(np.linalg.det(self.study.volume.geometry.affine_lps[:3, :3]))) / 1000
        return {name: float(np.count_nonzero(self.masks.axial(name))) * voxel_ml for name in self.labels}

    def to_rtstruct(self, path: str | os.PathLike[str], *, label: str = "nasoseg", description: str = "") -> list[str]:
        """Write an RTSTRUCT that refers to the scan's DICOM images (``volumes.rtstruct.write_rtstruct``).

        Args:
            path: The file; its folder must exist. An older file is replaced.
            label: Structure set label, at most 16 characters.
            description: What the structure set says of itself.

        Returns:
            Remarks: names that had to be changed, structures without a voxel.

        Raises:
            NasosegError: If the scan is not DICOM, or the file cannot be written.
        """
        if self.study.ct is None:
            raise _not_dicom(self.study, "RTSTRUCT")
        return write_rtstruct(path, self.masks, self.study.ct, label=label, description=description)

    def to_seg(self, path: str | os.PathLike[str], *, label: str = "nasoseg", description: str = "") -> list[str]:
        """Write a DICOM SEG that refers to the scan's DICOM images (``volumes.dicom_seg.write_seg``).

        Arguments, result and errors are those of ``to_rtstruct``.
        """
        if self.study.ct is None:
            raise _not_dicom(self.study, "DICOM SEG")
        return write_seg(path, self.masks, self.study.ct, label=label, description=description)

    def to_nifti(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``<structure>.nii.gz`` for every structure, uint8, 0 and 1, on the scan's own grid.

        The axes are those of the scan's file; of a DICOM series columns, rows, slices, as NIfTI has them elsewhere.

        Args:
            folder: Made if need be. Older files of these names are replaced.

        Returns:
            The files.

        Raises:
            NasosegError: If a file cannot be written.
        """
        folder = Path(folder)
        order = (2, 1, 0) if self.study.ct is not None else (0, 1, 2)
        grid = self.study.volume.geometry
        shape = (grid.shape[order[0]], grid.shape[order[1]], grid.shape[order[2]])
        turned = Geometry(shape, grid.affine_lps[:, [*order, 3]])
        written: dict[str, Path] = {}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for number, name in enumerate(self.labels):
                stem = safe_file_name(name)
                stem = stem if stem.casefold() not in written else f"{stem}_{number}"
                written[stem.casefold()] = folder / f"{stem}.nii.gz"
                write_volume(written[stem.casefold()], self.masks[name].transpose(order), turned)
        return list(written.values())


def _not_dicom(study: Study, what: str) -> NasosegError:
    return NasosegError(
        f"{study.name}: {what} refers to DICOM images, and this scan came from another file: give the DICOM folder, or"
        " write NIfTI"
    )
