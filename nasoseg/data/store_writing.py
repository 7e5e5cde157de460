"""Writing a slice store: one patient at a time, with checksums, under its final name only when it is complete.

``nasoseg.data.store`` says what is where.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from nasoseg.data.atomic_hdf5 import AtomicHDF5
from nasoseg.data.pseudonyms import check_name
from nasoseg.errors import NasosegError
from nasoseg.labels import Structure
from nasoseg.volumes.volume import LARGEST_SIDE, Geometry

FORMAT = "nasoseg-slices"
VERSION = 1
MOST_STRUCTURES = 64
_PATIENT_SHA256 = ("image_sha256", "labels_sha256", "voxels_sha256")
ATTRIBUTE_SHAPES: dict[str, tuple[int, ...]] = {
    "spacing_mm": (3,),
    "affine_lps": (4, 4),
    "source_shape": (3,),
    "source_affine_lps": (4, 4),
}


@dataclass(frozen=True)
class Patient:
    """Hold one patient of a store.

    Attributes:
        key: Pseudonym.
        image: HU, int16 (z, h, w), axial: slices to Superior, rows to Posterior, columns to Left.
        labels: Bit planes, unsigned integer (z, h, w); bit i is structure i.
        annotated: (k,) bool; False where a structure was not drawn in this patient.
        affine_lps: (4, 4) maps (slice, row, column) to LPS millimetres of the voxel centre.
        source: The grid of the file that the patient came from; predictions go back onto it.
    """

    key: str
    image: npt.NDArray[np.int16]
    labels: npt.NDArray[Any]
    annotated: npt.NDArray[np.bool_]
    affine_lps: npt.NDArray[np.float64]
    source: Geometry

    @property
    def geometry(self) -> Geometry:
        """The stored grid."""
        z, h, w = self.image.shape
        return Geometry((z, h, w), self.affine_lps)


def plane_dtype(structures: int) -> np.dtype[Any]:
    """Return the narrowest of uint16, uint32, uint64 with a bit for every structure.

    Raises:
        NasosegError: If there are more than 64 structures, or none.
    """
    if not 1 <= structures <= MOST_STRUCTURES:
        raise NasosegError(
            f"store: found {structures} structures, expected 1 to {MOST_STRUCTURES}: name fewer with --structures"
        )
    return np.dtype(f"<u{2 if structures <= 16 else 4 if structures <= 32 else 8}")


def pack_planes(
    masks: Mapping[int, npt.NDArray[Any]], *, shape: tuple[int, int, int], structures: int
) -> npt.NDArray[Any]:
    """Pack masks (z, h, w) into bit planes: bit i of a voxel is set where ``masks[i]`` is not 0."""
    planes = np.zeros(shape, plane_dtype(structures))
    for bit, mask in masks.items():
        planes[mask != 0] |= planes.dtype.type(1 << bit)
    return planes


def count_voxels(planes: npt.NDArray[Any], structures: int) -> npt.NDArray[np.uint32]:
    """Count the voxels of every structure on every slice: (z, h, w) bit planes to (z, k)."""
    counts = np.empty((planes.shape[0], structures), np.uint32)
    for bit in range(structures):
        counts[:, bit] = np.count_nonzero(planes & planes.dtype.type(1 << bit), axis=(1, 2))
    return counts


def sha256_of(array: npt.NDArray[Any]) -> str:
    """Hash an array's little-endian bytes, in C order."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()


def _set_dataset(group: h5py.Group, name: str, array: npt.NDArray[Any]) -> None:
    chunk = (1, *array.shape[1:]) if array.ndim == 3 else None
    filters: dict[str, Any] = {}
    if chunk is not None:
        filters = dict(hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.BITSHUFFLE), fletcher32=True)
    group.create_dataset(name, data=array, chunks=chunk, **filters)
    _set_text(group, f"{name}_sha256", sha256_of(array))


def _set_text(group: h5py.Group, name: str, text: str) -> None:
    group.attrs[name] = np.bytes_(text.encode("ascii"))


def as_text(value: Any) -> str:
    """Decode a text attribute, as HDF5 hands over texts of fixed length."""
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _check_patient(patient: Patient, structures: int) -> None:
    shape, dtype = patient.image.shape, plane_dtype(structures)
    wanted: dict[str, tuple[npt.NDArray[Any], Any, tuple[int, ...]]] = {
        "image": (patient.image, "<i2", shape),
        "labels": (patient.labels, dtype, shape),
        "annotated": (patient.annotated, bool, (structures,)),
        "affine_lps": (patient.affine_lps, "<f8", (4, 4)),
        "source.affine_lps": (patient.source.affine_lps, "<f8", (4, 4)),
    }
    findings = []
    if len(shape) != 3 or not all(1 <= side <= LARGEST_SIDE for side in shape):
        findings.append(f"an image of shape {shape}")
    findings += [
        f"{name} {array.dtype} {array.shape} in place of {np.dtype(kind)} {of}"
        for name, (array, kind, of) in wanted.items()
        if array.dtype != kind or array.shape != of
    ]
    if not findings and structures < 8 * dtype.itemsize and (patient.labels >> dtype.type(structures)).any():
        findings.append(f"labels with bits beyond its {structures} structures")
    if not findings and not np.isfinite([patient.affine_lps, patient.source.affine_lps]).all():
        findings.append("an affine that is not finite")
    if findings:
        raise NasosegError(
            f"patient {patient.key!r}: found {findings[0]}, expected what nasoseg.data.store.Patient describes,"
            " under a key without '/': mend it before it is written"
        )


def write_patient(group: h5py.Group, patient: Patient, *, structures: int) -> None:
    """Write one patient into an empty HDF5 group, with the checksums of what is written.

    Raises:
        NasosegError: If arrays of the patient do not fit each other, or the structures.
    """
    _check_patient(patient, structures)
    _set_dataset(group, "image", patient.image)
    _set_dataset(group, "labels", patient.labels)
    _set_dataset(group, "voxels", count_voxels(patient.labels, structures))
    group.attrs["spacing_mm"] = patient.geometry.spacing_mm
    group.attrs["affine_lps"] = patient.affine_lps
    group.attrs["annotated"] = patient.annotated
    group.attrs["source_shape"] = np.array(patient.source.shape)
    group.attrs["source_affine_lps"] = patient.source.affine_lps


def write_header(file: h5py.File, structures: Sequence[Structure]) -> None:
    """Write the root attributes; called last, when all patients are in: a file without them is not a store."""
    described = json.dumps([{"name": s.name, "tg263": s.tg263, "colour": list(s.colour)} for s in structures])
    _set_text(file, "structures", described)
    _set_text(file, "structures_sha256", hashlib.sha256(described.encode()).hexdigest())
    _set_text(file, "content_sha256", content_sha256([s.name for s in structures], file["patients"]))
    file.attrs["version"] = VERSION
    _set_text(file, "format", FORMAT)


def content_sha256(names: Sequence[str], patients: h5py.Group) -> str:
    """Hash all that a store says: structures' names, and every patient's key, numbers and checksums."""
    content = hashlib.sha256(json.dumps(list(names)).encode())
    for key in sorted(patients):
        attributes = patients[key].attrs
        numbers = {name: np.ravel(attributes[name]).tolist() for name in ("annotated", *ATTRIBUTE_SHAPES)}
        checksums = {name: as_text(attributes[name]) for name in _PATIENT_SHA256}
        content.update(json.dumps([key, numbers, checksums]).encode())
    return content.hexdigest()


def write_store(path: str | os.PathLike[str], patients: Iterable[Patient], structures: Sequence[Structure]) -> None:
    """Write a store in one go: to a temporary file beside ``path``, renamed when complete and on the disk.

    Raises:
        NasosegError: If the disk is full or the folder cannot be written, if there is no patient, two have one key, one
            is not whole, or a key or a structure has a name that cannot be a file's; nothing is left under ``path``.
    """
    path = Path(path)
    for name, count in Counter(structure.name for structure in structures).items():
        check_name(name, what=f"{path}: structure", remedy="rename it")
        if count > 1:
            raise NasosegError(f"{path}: found two structures {name!r}, expected one: rename one of them")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with AtomicHDF5(path, temporary) as new:
            group = new.file.create_group("patients")
            for patient in patients:
                check_name(patient.key, what=f"{path}: patient", remedy="give it another key")
                _check_patient(patient, len(structures))
                if patient.key in group:
                    raise NasosegError(f"{path}: found two patients {patient.key!r}, expected one: rename one of them")
                write_patient(group.create_group(patient.key), patient, structures=len(structures))
                new.check()
            if not len(group):
                raise NasosegError(
                    f"{path}: found no patient to write, expected one or more: see `nasoseg prepare --help`"
                )
            write_header(new.file, structures)
    except OSError as error:
        raise NasosegError(
            f"{path}: could not be written ({error}): free disk space or choose another folder"
        ) from error
