"""The slice store: one HDF5 file that holds whole scans, slice by slice, and their structures as bit planes.

Layout, version 1 (z slices, h rows, w columns, k structures; bit i of a label = structure i):

=============================  =================  ==============================================================
``/`` attributes               ``format``         ``"nasoseg-slices"``
..                             ``version``        1
..                             ``structures``     JSON list of ``{"name", "tg263", "colour"}``
..                             ``structures_sha256``  of that text
..                             ``content_sha256`` SHA-256 over the structures' names, and over all patients'
                                                  attributes, checksums included, in order of their keys
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
with a Fletcher-32 checksum that HDF5 verifies at every read. Texts have a fixed length: HDF5 keeps others in a heap
without a checksum, where one flipped bit can make it read for ever. Nothing but its key identifies a patient: a
pseudonym from DICOM or with ``--pseudonym-key``, else the name of his folder.
"""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from nasoseg.data.atomic_hdf5 import LIBVER
from nasoseg.data.pseudonyms import check_name
from nasoseg.data.store_writing import (
    ATTRIBUTE_SHAPES,
    FORMAT,
    VERSION,
    Patient,
    as_text,
    content_sha256,
    count_voxels,
    pack_planes,
    plane_dtype,
    sha256_of,
    write_header,
    write_patient,
    write_store,
)
from nasoseg.errors import NasosegError
from nasoseg.labels import Structure
from nasoseg.volumes.volume import LARGEST_SIDE, Geometry

__all__ = [
    "FORMAT",
    "LIBVER",
    "VERSION",
    "Patient",
    "Store",
    "count_voxels",
    "pack_planes",
    "plane_dtype",
    "write_header",
    "write_patient",
    "write_store",
]

_MOST_OPEN = 2048
"""Datasets that stay open in a process: opening one takes longer than reading a slice of 128 x 128, and some 27 KiB."""

# What h5py raises over a damaged file, depending on which byte is wrong.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, MemoryError)


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
        self._place = self.path.absolute()  # the working folder may change before it is read
        self._file: h5py.File | None = None
        self._datasets: dict[tuple[str, str], h5py.Dataset] = {}
        self._pid = -1
        if not self.path.is_file():
            raise NasosegError(f"{self.path}: no such store: expected an HDF5 file made by `nasoseg prepare`")
        try:
            with h5py.File(self.path, "r") as file:
                self._read_header(file)
        except _DAMAGE as error:
            raise NasosegError(
                f"{self.path}: cannot be read as a store ({_one_line(error)}): expected a whole HDF5 file made by"
                " `nasoseg prepare`; it may be truncated or damaged: copy or prepare it again"
            ) from error

    def _read_header(self, file: h5py.File) -> None:
        found = as_text(file.attrs.get("format"))
        if found != FORMAT:
            raise NasosegError(
                f"{self.path}: not a nasoseg store: found format {found[:200]!r}, expected {FORMAT!r}: make one with"
                " `nasoseg prepare`"
            )
        version = int(file.attrs["version"])
        if version != VERSION:
            raise NasosegError(
                f"{self.path}: store of version {version}, this nasoseg reads version {VERSION}: prepare it again, or"
                " install the nasoseg that wrote it"
            )
        self.content_sha256 = as_text(file.attrs["content_sha256"])
        described = as_text(file.attrs["structures"])
        if hashlib.sha256(described.encode()).hexdigest() != as_text(file.attrs["structures_sha256"]):
            raise ValueError("the list of structures differs from its recorded SHA-256")
        self.structures = [Structure(s["name"], s["tg263"], (), tuple(s["colour"])) for s in json.loads(described)]
        k = len(self.structures)
        patients = file["patients"]
        if not isinstance(patients, h5py.Group):  # a data set would be read number by number
            raise ValueError("'patients' is no group")
        self.keys = sorted(patients)
        if not self.keys:
            raise NasosegError(f"{self.path}: holds no patient: prepare it again")
        for what, names in (("structure", self.names), ("patient", self.keys)):
            for name in names:  # they become names of files
                check_name(name, what=f"{self.path}: {what}", remedy="prepare the store again, with another name")
        self.voxels: dict[str, npt.NDArray[np.uint32]] = {}
        self._attributes: dict[str, dict[str, Any]] = {}
        for key in self.keys:
            self._read_patient_header(key, patients[key], k)
        if content_sha256(self.names, patients) != self.content_sha256:
            raise ValueError("the patients' attributes differ from the recorded content_sha256")
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
        for name in ("image", "labels"):
            # Before anything so large is made room for: there must be as many slices as the header claims.
            if group[name].chunks != (1, *shape[1:]) or group[name].id.get_num_chunks() != shape[0]:
                raise ValueError(f"patient {key}: {name} does not hold the {shape[0]} slices that its shape claims")
        attributes: dict[str, Any] = {"shape": shape}
        for name, wanted in {**ATTRIBUTE_SHAPES, "annotated": (k,)}.items():
            attributes[name] = np.asarray(group.attrs[name])
            if attributes[name].shape != wanted or not np.isfinite(attributes[name]).all():
                raise NasosegError(
                    f"{self.path}: patient {key}: {name} is {str(attributes[name])[:200]}, expected finite numbers of"
                    f" shape {wanted}: prepare the store again"
                )
        self._attributes[key] = attributes
        self.voxels[key] = group["voxels"][()]
        if sha256_of(self.voxels[key]) != as_text(group.attrs["voxels_sha256"]):
            raise ValueError(f"patient {key}: the index of slices differs from its recorded SHA-256")

    @property
    def names(self) -> list[str]:
        """Names of the structures, in the order of their bits."""
        return [structure.name for structure in self.structures]

    @property
    def short_sha256(self) -> str:
        """The beginning of ``content_sha256`` that results and figures carry."""
        return self.content_sha256[:12]

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
            NasosegError: If a stored chunk is damaged, or the file is gone or another one; names the patient.
        """
        try:
            return np.asarray(self._dataset(key, name)[slices])
        except (OSError, KeyError, RuntimeError, MemoryError) as error:
            remedy = "the file is damaged: see `nasoseg check`, then copy or prepare it again"
            if not self._place.exists():
                remedy = "it was moved or removed after it was opened: put it back, and start again"
            raise NasosegError(
                f"{self.path}: patient {key}: {name} cannot be read ({_one_line(error)}): {remedy}"
            ) from error

    def _dataset(self, key: str, name: str) -> h5py.Dataset:
        if self._file is None or self._pid != os.getpid():
            self._datasets = {}
            self._file = self._opened()
            self._pid = os.getpid()
        if (key, name) not in self._datasets:
            if len(self._datasets) >= _MOST_OPEN:
                self._datasets.pop(next(iter(self._datasets)))  # the one that was opened first
            self._datasets[key, name] = self._file["patients"][key][name]
        return self._datasets[key, name]

    def _opened(self) -> h5py.File:
        # A chunk is a whole slice and is read at once: HDF5's cache of chunks, some MiB a dataset, would be of no use.
        file = h5py.File(self._place, "r", rdcc_nbytes=0)
        found = as_text(file.attrs.get("content_sha256"))
        if found != self.content_sha256:
            file.close()
            raise NasosegError(
                f"{self.path}: found the store with SHA-256 {found}, expected {self.content_sha256}: it was replaced"
                " after it was opened: start again"
            )
        return file

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
                    if sha256_of(array) != as_text(group.attrs[f"{name}_sha256"]):
                        findings.append(f"patient {key}: {name} differs from its recorded SHA-256: it was damaged")
                counted = count_voxels(self.read(key, "labels", slice(None)), len(self.structures))
                if not np.array_equal(counted, self.voxels[key]):
                    findings.append(f"patient {key}: the index of slices disagrees with the labels")
        except (NasosegError, *_DAMAGE) as error:
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
        """Verify the store's own hash over all patients, as opening did; return the findings."""
        try:
            with h5py.File(self.path, "r") as file:
                if content_sha256(self.names, file["patients"]) == self.content_sha256:
                    return []
        except _DAMAGE as error:
            return [_one_line(error)]
        return ["the store's content_sha256 does not match its patients: it was changed after it was written"]

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._datasets = {}
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
        return self.__dict__ | {"_file": None, "_datasets": {}, "_pid": -1}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
