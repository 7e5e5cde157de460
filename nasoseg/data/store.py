"""The slice store: one HDF5 file that holds whole scans, slice by slice, and their structures as bit planes.

Layout, version 1 (z slices, h rows, w columns, k structures; bit i of a label = structure i):

=============================  =================  ==============================================================
``/`` attributes               ``format``         ``"nasoseg-slices"``
..                             ``version``        1
..                             ``structures``     JSON list of ``{"name", "tg263", "colour"}``
..                             ``content_sha256`` SHA-256 over all patients' checksums, in order of their keys
``patients/<key>/image``       int16 (z, h, w)    HU; slices to Superior, rows to Posterior, columns to Left
``patients/<key>/labels``      uint16/32/64       (z, h, w) bit planes
``patients/<key>/voxels``      uint32 (z, k)      voxels of every structure on every slice: the index of slices
``patients/<key>`` attributes  ``spacing_mm``     (3,) along slice, row, column
..                             ``affine_lps``     (4, 4) maps (slice, row, column) to LPS mm of the voxel centre
..                             ``annotated``      (k,) bool
..                             ``source_shape``   (3,) shape of the source file's array
..                             ``source_affine_lps``  (4, 4) maps the source array's indices to LPS mm
..                             ``image_sha256`` ``labels_sha256`` ``voxels_sha256``  of the raw little-endian bytes
=============================  =================  ==============================================================

One chunk is one slice (random reads of slices: measured in benchmarks), compressed with Blosc2 (zstd, bit shuffle),
with a Fletcher-32 checksum that HDF5 verifies at every read. Keys are pseudonyms: nothing else identifies a patient.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError
from nasoseg.labels import Structure
from nasoseg.volumes.volume import LARGEST_SIDE, Geometry

FORMAT = "nasoseg-slices"
VERSION = 1
LIBVER = ("v110", "v110")  # the first HDF5 format whose metadata carry checksums; read since 2017
MOST_STRUCTURES = 64
_ATTRIBUTE_SHAPES: dict[str, tuple[int, ...]] = {
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


def _sha256(array: npt.NDArray[Any]) -> str:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()


def _set_dataset(group: h5py.Group, name: str, array: npt.NDArray[Any]) -> None:
    chunk = (1, *array.shape[1:]) if array.ndim == 3 else None
    filters: dict[str, Any] = {}
    if chunk is not None:
        filters = dict(hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.BITSHUFFLE), fletcher32=True)
    group.create_dataset(name, data=array, chunks=chunk, **filters)
    group.attrs[f"{name}_sha256"] = _sha256(array)


def write_patient(group: h5py.Group, patient: Patient, *, structures: int) -> None:
    """Write one patient into an empty HDF5 group, with the checksums of what is written."""
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
    checksums = hashlib.sha256()
    described = [{"name": s.name, "tg263": s.tg263, "colour": list(s.colour)} for s in structures]
    checksums.update(json.dumps([s.name for s in structures]).encode())
    for key, group in sorted(file["patients"].items()):
        checksums.update(json.dumps(_identity(key, group)).encode())
    file.attrs["structures"] = json.dumps(described)
    file.attrs["content_sha256"] = checksums.hexdigest()
    file.attrs["version"] = VERSION
    file.attrs["format"] = FORMAT


def _identity(key: str, group: h5py.Group) -> list[Any]:
    return [
        key,
        str(group.attrs["image_sha256"]),
        str(group.attrs["labels_sha256"]),
        [bool(a) for a in group.attrs["annotated"]],
        [float(a) for a in np.ravel(group.attrs["affine_lps"])],
    ]


def write_store(path: str | os.PathLike[str], patients: Iterable[Patient], structures: Sequence[Structure]) -> None:
    """Write a store in one go: to a temporary file beside ``path``, renamed when complete and on the disk.

    Raises:
        NasosegError: If the disk is full or the folder cannot be written; nothing is left under ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w", libver=LIBVER) as file:
            file.create_group("patients")
            for patient in patients:
                write_patient(file.create_group(f"patients/{patient.key}"), patient, structures=len(structures))
            write_header(file, structures)
        commit_file(temporary, path)
    except OSError as error:
        raise NasosegError(
            f"{path}: could not be written ({error}): free disk space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def commit_file(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its final name, after its bytes have reached the disk."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


class Store:
    """Read a slice store.

    The HDF5 file is opened at the first read in each process (a handle must not cross a fork), so that a store can
    travel to workers.

    Args:
        path: The HDF5 file.

    Attributes:
        structures: The structures, in the order of their bits.
        keys: Patient keys, sorted.
        annotated: (patients, k) bool.
        voxels: For every key, (z, k) voxels of every structure on every slice.
        content_sha256: The store's hash; split files carry it.

    Raises:
        NasosegError: If the file is missing, is no store, is of another version, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = -1
        if not self.path.is_file():
            raise NasosegError(f"{self.path}: no such store: expected an HDF5 file made by `nasoseg prepare`")
        try:
            with h5py.File(self.path, "r") as file:
                self._read_header(file)
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            raise NasosegError(
                f"{self.path}: cannot be read as a store ({_one_line(error)}): expected a whole HDF5 file made by"
                " `nasoseg prepare`; it may be truncated or damaged: copy or prepare it again"
            ) from error

    def _read_header(self, file: h5py.File) -> None:
        found = file.attrs.get("format")
        if found != FORMAT:
            raise NasosegError(
                f"{self.path}: not a nasoseg store: found format {found!r}, expected {FORMAT!r}: make one with"
                " `nasoseg prepare`"
            )
        version = int(file.attrs["version"])
        if version != VERSION:
            raise NasosegError(
                f"{self.path}: store of version {version}, this nasoseg reads version {VERSION}: prepare it again, or"
                " install the nasoseg that wrote it"
            )
        self.content_sha256 = str(file.attrs["content_sha256"])
        self.structures = [
            Structure(str(s["name"]), str(s["tg263"]), (), tuple(s["colour"]))
            for s in json.loads(file.attrs["structures"])
        ]
        k = len(self.structures)
        self.keys = sorted(file["patients"])
        if not self.keys:
            raise NasosegError(f"{self.path}: holds no patient: prepare it again")
        self.voxels: dict[str, npt.NDArray[np.uint32]] = {}
        self._attributes: dict[str, dict[str, Any]] = {}
        for key in self.keys:
            self._read_patient_header(key, file["patients"][key], k)
        self.annotated = np.array([self._attributes[key]["annotated"] for key in self.keys], bool)

    def _read_patient_header(self, key: str, group: h5py.Group, k: int) -> None:
        shape = group["image"].shape
        if len(shape) != 3 or not all(1 <= side <= LARGEST_SIDE for side in shape):
            raise NasosegError(
                f"{self.path}: patient {key}: image of shape {shape}, expected (slices, rows, columns) of at most"
                f" {LARGEST_SIDE} each: prepare the store again"
            )
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "image": ("<i2", shape),
            "labels": (plane_dtype(k), shape),
            "voxels": ("<u4", (shape[0], k)),
        }
        for name, (dtype, wanted) in expected.items():
            dataset = group[name]
            if dataset.dtype != dtype or dataset.shape != wanted:
                raise NasosegError(
                    f"{self.path}: patient {key}: {name} is {dataset.dtype} {dataset.shape}, expected {dtype} {wanted}:"
                    " prepare the store again"
                )
        attributes: dict[str, Any] = {"shape": shape}
        for name, wanted in {**_ATTRIBUTE_SHAPES, "annotated": (k,)}.items():
            attributes[name] = np.asarray(group.attrs[name])
            if attributes[name].shape != wanted or not np.isfinite(attributes[name]).all():
                raise NasosegError(
                    f"{self.path}: patient {key}: {name} is {attributes[name]}, expected finite numbers of shape"
                    f" {wanted}: prepare the store again"
                )
        self._attributes[key] = attributes
        self.voxels[key] = group["voxels"][()]

    @property
    def names(self) -> list[str]:
        """Names of the structures, in the order of their bits."""
        return [structure.name for structure in self.structures]

    def geometry(self, key: str) -> Geometry:
        """Return the stored grid of one patient: axes (slice, row, column)."""
        attributes = self._attributes[key]
        return Geometry(attributes["shape"], attributes["affine_lps"].astype(np.float64))

    def source(self, key: str) -> Geometry:
        """Return the grid of the file that the patient came from."""
        attributes = self._attributes[key]
        a, b, c = (int(side) for side in attributes["source_shape"])
        return Geometry((a, b, c), attributes["source_affine_lps"].astype(np.float64))

    def is_annotated(self, key: str) -> npt.NDArray[np.bool_]:
        """Return (k,) bool: which structures were drawn in this patient (an empty one included)."""
        return np.asarray(self._attributes[key]["annotated"], bool)

    def read(self, key: str, name: str, slices: int | slice) -> npt.NDArray[Any]:
        """Read slices of ``image`` (HU) or ``labels`` (bit planes) of one patient.

        Raises:
            NasosegError: If a stored chunk is damaged; names the patient.
        """
        if self._file is None or self._pid != os.getpid():
            self._file = h5py.File(self.path, "r")
            self._pid = os.getpid()
        try:
            return np.asarray(self._file["patients"][key][name][slices])
        except (OSError, KeyError, RuntimeError) as error:
            raise NasosegError(
                f"{self.path}: patient {key}: {name} cannot be read ({_one_line(error)}): the file is damaged:"
                " see `nasoseg check`, then copy or prepare it again"
            ) from error

    def patient(self, key: str) -> Patient:
        """Read one whole patient."""
        image, labels = (self.read(key, name, slice(None)) for name in ("image", "labels"))
        return Patient(key, image, labels, self.is_annotated(key), self.geometry(key).affine_lps, self.source(key))

    def check(self, key: str) -> list[str]:
        """Verify everything stored for one patient; return the findings, none if all is well."""
        findings = []
        try:
            with h5py.File(self.path, "r") as file:
                group = file["patients"][key]
                for name in ("image", "labels", "voxels"):
                    array = self.read(key, name, slice(None))
                    if _sha256(array) != group.attrs[f"{name}_sha256"]:
                        findings.append(f"patient {key}: {name} differs from its recorded SHA-256: it was damaged")
                counted = count_voxels(self.read(key, "labels", slice(None)), len(self.structures))
                if not np.array_equal(counted, self.voxels[key]):
                    findings.append(f"patient {key}: the index of slices disagrees with the labels")
        except (NasosegError, OSError, KeyError, RuntimeError) as error:
            findings.append(_one_line(error))
        drawn = self.voxels[key].any(axis=0)
        findings += [
            f"patient {key}: {self.names[i]} has voxels but is marked as not annotated"
            for i in np.flatnonzero(drawn & ~self.is_annotated(key))
        ]
        geometry = self.geometry(key)
        spacing_mm = self._attributes[key]["spacing_mm"]
        if not np.allclose(geometry.spacing_mm, spacing_mm, atol=1e-4):
            findings.append(f"patient {key}: spacing and affine disagree")
        return findings

    def check_header(self) -> list[str]:
        """Verify the store's own hash over all patients; return the findings."""
        checksums = hashlib.sha256(json.dumps(self.names).encode())
        with h5py.File(self.path, "r") as file:
            for key in self.keys:
                checksums.update(json.dumps(_identity(key, file["patients"][key])).encode())
        if checksums.hexdigest() == self.content_sha256:
            return []
        return ["the store's content_sha256 does not match its patients: it was changed after it was written"]

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_pid": -1}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
