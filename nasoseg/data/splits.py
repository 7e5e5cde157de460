"""Splits: which slices train, validate and test in every fold, saved as a file that all methods read.

Protocol ``clean`` deals whole patients; each fold's validation part is taken from its training patients. Protocol
``paper`` deals single slices, and the test fold also picks the checkpoint, as in Luo et al. 2020: its results are
optimistic, and it is there to show by how much.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from nasoseg.data.pseudonyms import patient_of
from nasoseg.data.split_file import parse_split, read_json, render_json
from nasoseg.data.store import Store
from nasoseg.data.stratification import deal
from nasoseg.errors import NasosegError, nearest
from nasoseg.files import whole_file

Protocol = Literal["clean", "paper"]
Part = Literal["train", "validation", "test"]
Members = Mapping[str, tuple[int, ...]]
"""Patient key -> its slices, rising. A patient without a slice is left out."""

PARTS: tuple[Part, ...] = get_args(Part)
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Fold:
    """Name the slices of one fold's parts.

    Attributes:
        train: What weights are learned from.
        validation: What picks the checkpoint; under ``paper`` the same as ``test``.
        test: What is reported.
    """

    train: Members
    validation: Members
    test: Members


@dataclass(frozen=True)
class Split:
    """Deal a store's patients or slices to folds; every slice is tested in exactly one fold.

    Attributes:
        protocol: ``clean`` (whole patients) or ``paper`` (single slices).
        seed: What the dealing was seeded with.
        store_sha256: ``content_sha256`` of the store that was dealt.
        slices: For every patient of the store, how many slices it has.
        folds: The folds.
    """

    protocol: Protocol
    seed: int
    store_sha256: str
    slices: Mapping[str, int]
    folds: tuple[Fold, ...]

    def part(self, fold: int, part: Part) -> dict[str, npt.NDArray[np.int64]]:
        """Return the slices of one part: patient key -> slice numbers (n,), rising.

        Raises:
            NasosegError: If there is no such fold or part.
        """
        if not 0 <= fold < len(self.folds):
            raise NasosegError(f"fold: found {fold}, expected 0 to {len(self.folds) - 1}: this split's folds")
        if part not in PARTS:
            raise NasosegError(f"part: found {part!r}, expected one of {', '.join(PARTS)}: {nearest(part, PARTS)}")
        members: Members = getattr(self.folds[fold], part)
        return {key: np.array(slices, np.int64) for key, slices in members.items()}

    def annotated_counts(self, store: Store, fold: int) -> dict[Part, dict[str, int]]:
        """Count, for every part of a fold and every structure, the patients in which it is annotated."""
        counts: dict[Part, dict[str, int]] = {}
        for part in PARTS:
            rows = [store.is_annotated(key) for key in self.part(fold, part)]
            counts[part] = dict(zip(store.names, np.sum(rows, axis=0).tolist(), strict=True))
        return counts

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, whatever the file's layout."""
        canonical = json.dumps(self._document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the split as JSON, whole or not at all.

        Raises:
            NasosegError: If it cannot be written.
        """
        path = Path(path)
        try:
            with whole_file(path) as temporary:
                temporary.write_text(render_json(self._document()) + "\n", encoding="utf-8")
        except OSError as error:
            raise NasosegError(
                f"{path}: the split could not be written ({error}): free disk space or choose another folder"
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str], store: Store | None = None) -> "Split":
        """Read a split, and check that it is whole, leaks nothing and, given a store, belongs to it.

        Raises:
            NasosegError: If the file is missing, no split, contradicts itself, or is a split of another store.
        """
        path = Path(path)
        found = parse_split(path, read_json(path))
        folds = tuple(Fold(*parts) for parts in found.folds)
        split = cls(found.protocol, found.seed, found.store_sha256, found.slices, folds)
        if store is not None:
            split._check_store(store, path)
        return split

    def _check_store(self, store: Store, path: Path) -> None:
        remedy = "use the store it was made of, or make a split of this one with `nasoseg split`"
        if self.store_sha256 != store.content_sha256:
            raise NasosegError(
                f"{path}: split of the store with SHA-256 {self.store_sha256}, found {store.path} with"
                f" {store.content_sha256}: {remedy}"
            )
        for key in sorted(self.slices.keys() | set(store.keys)):
            there = len(store.voxels[key]) if key in store.voxels else None
            if self.slices.get(key) != there:
                raise NasosegError(
                    f"{path}: patient {key!r} has {self.slices.get(key, 'no')} slices here, expected {there or 'none'}"
                    f" as in {store.path}: the file was changed: {remedy}"
                )

    def _document(self) -> dict[str, Any]:
        """What the file holds; ``split_file.parse_split`` reads it back."""
        document: dict[str, Any] = {
            "format": "nasoseg-split",
            "version": 1,
            "protocol": self.protocol,
            "seed": self.seed,
            "store_sha256": self.store_sha256,
            "slices": dict(self.slices),
        }
        if self.protocol == "clean":
            return document | {"folds": [{part: list(getattr(f, part)) for part in PARTS} for f in self.folds]}
        return document | {"folds": [{"test": {k: list(s) for k, s in f.test.items()}} for f in self.folds]}


def make_split(
    store: Store, *, folds: int = 5, protocol: Protocol = "clean", seed: int = 0, validation_fraction: float = 0.15
) -> Split:
    """Deal a store's patients or slices to folds.

    Scans of one patient, as ``prepare dicom`` keys them, are dealt together under ``clean``.

    The same store, arguments and seed give the same split on every machine.

    Args:
        store: The store.
        folds: Number of folds, from 2 to the number of patients (``paper``: of slices).
        protocol: ``clean`` deals patients, so that the folds are balanced over the structures that are rare; ``paper``
            deals slices at random, labelled or not.
        seed: Seed of the dealing, from 0 to 2**32 - 1.
        validation_fraction: Share of each fold's remaining patients that pick the checkpoint, at least one patient;
            ``clean`` only.

    Raises:
        NasosegError: If an argument is out of its range, or the store has too few patients.
    """
    if protocol not in get_args(Protocol):
        raise NasosegError(f"protocol: found {protocol!r}, expected 'clean' or 'paper'")
    if not 0 <= seed <= _LARGEST_SEED:
        raise NasosegError(f"seed: found {seed}, expected 0 to {_LARGEST_SEED}: choose another seed")
    if not 0 < validation_fraction < 1:
        raise NasosegError(f"validation_fraction: found {validation_fraction}, expected more than 0 and less than 1")
    slices = {key: len(store.voxels[key]) for key in store.keys}
    patients = len({patient_of(key) for key in slices})
    most, unit = (patients, "patients") if protocol == "clean" else (sum(slices.values()), "slices")
    if most < 2:
        raise NasosegError(
            f"{store.path}: {unit} to deal to folds: found {most}, expected {3 if protocol == 'clean' else 2} or more:"
            " prepare more patients"
        )
    if not 2 <= folds <= most:
        raise NasosegError(
            f"folds: found {folds}, expected 2 to {most}: {store.path} has {most} {unit}: ask for other folds, or"
            " prepare more patients"
        )
    if protocol == "clean":
        dealt = _clean_folds(store, slices, folds, seed, validation_fraction)
    else:
        dealt = _paper_folds(slices, folds, seed)
    return Split(protocol, seed, store.content_sha256, slices, tuple(dealt))


def _clean_folds(store: Store, slices: Mapping[str, int], folds: int, seed: int, fraction: float) -> list[Fold]:
    scans: dict[str, list[str]] = {}  # of every patient: his scans are dealt together
    for key in store.keys:
        scans.setdefault(patient_of(key), []).append(key)
    patients = len(scans)
    # An organ drawn empty counts as annotated but teaches nothing, so both are spread: what is annotated, what is seen.
    seen = np.array([store.voxels[key].any(axis=0) for key in store.keys])
    of_scan = dict(zip(store.keys, np.column_stack([store.annotated, seen & store.annotated]), strict=True))
    labels = np.unique(np.array([np.any([of_scan[k] for k in keys], axis=0) for keys in scans.values()]), axis=1)
    whole = [{key: tuple(range(slices[key])) for key in keys} for keys in scans.values()]
    sizes = [patients // folds + (fold < patients % folds) for fold in range(folds)]
    dealt = []
    # RandomState, not default_rng: NumPy promises that its numbers never change (NEP 19).
    for number, test in enumerate(deal(labels, sizes, np.random.RandomState([seed, 0]))):
        rest = np.setdiff1d(np.arange(patients), test)
        if len(rest) < 2:
            raise NasosegError(
                f"folds: {folds} folds of {patients} patients leave {len(rest)} to train and validate, expected 2 or"
                f" more: {store.path} has too few patients: ask for more folds, or prepare more patients"
            )
        held_out = min(max(1, round(fraction * len(rest))), len(rest) - 1)
        inner = deal(labels[rest], (len(rest) - held_out, held_out), np.random.RandomState([seed, number + 1]))
        parts = (rest[inner[0]], rest[inner[1]], test)
        dealt.append(Fold(*({k: s for patient in part for k, s in whole[patient].items()} for part in parts)))
    return dealt


def _paper_folds(slices: Mapping[str, int], folds: int, seed: int) -> list[Fold]:
    total = sum(slices.values())
    fold_of = np.empty(total, np.int64)
    fold_of[np.random.RandomState([seed, 0]).permutation(total)] = np.arange(total) % folds
    ends = np.cumsum(list(slices.values()))[:-1]
    by_patient = dict(zip(slices, np.split(fold_of, ends), strict=True))

    def where(wanted: int, tested: bool) -> Members:
        chosen = {key: np.flatnonzero((of == wanted) == tested) for key, of in by_patient.items()}
        return {key: tuple(numbers.tolist()) for key, numbers in chosen.items() if len(numbers)}

    tests = [where(fold, True) for fold in range(folds)]
    return [Fold(where(fold, False), test, test) for fold, test in enumerate(tests)]
