"""Find studies in a folder: one CT a patient, and the files that hold its structures.

Two layouts are known:

- folders: ``<patient>/ct.<ending>`` and ``<patient>/segmentations/<structure>.<ending>``, one mask a file;
- nnU-Net's raw layout: ``imagesTr/<case>_0000<ending>``, ``labelsTr/<case><ending>`` and ``dataset.json``, whose
  labels are values or lists of values (regions, which may lie within each other).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError, nearest
from nasoseg.files import visible
from nasoseg.labels import composed
from nasoseg.volumes.header import EXTENSIONS, split_name

IGNORE = "ignore"
"""nnU-Net's name for the label of voxels that nobody annotated."""

_LAYOUTS = (
    "<patient>/ct.nii.gz with <patient>/segmentations/<structure>.nii.gz, or nnU-Net's imagesTr, labelsTr and"
    " dataset.json"
)


@dataclass(frozen=True)
class Contour:
    """Say where one structure of one patient is.

    Attributes:
        structure: Its name.
        path: The file.
        values: The voxel values that are inside; none: every value but 0.
    """

    structure: str
    path: Path
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Study:
    """Hold what was found of one patient.

    Attributes:
        name: Name of the folder or case.
        ct: The CT file.
        contours: Its structures; one that is not listed was not annotated.
        known_values: All values that a label map may hold; none where the files are masks.
        ignore: The value of voxels that nobody annotated, if the data set has one.
        fault: Why the patient cannot be used; empty if nothing is known yet.
    """

    name: str
    ct: Path
    contours: tuple[Contour, ...] = ()
    known_values: tuple[int, ...] = ()
    ignore: int | None = None
    fault: str = ""


def check_values(array: npt.NDArray[Any], path: Path, study: Study, *, no_part: str, or_else: str) -> None:
    """Check that a label map holds no voxel to be ignored, and no value that nobody explained.

    Args:
        array: The label map.
        path: Its file.
        study: Whose values are known.
        no_part: Why a part of a structure cannot be ignored, for the error.
        or_else: What else than adding the values to dataset.json may help, for the error.

    Raises:
        NasosegError: If it does.
    """
    found = np.unique(array)
    if study.ignore is not None and study.ignore in found:
        raise NasosegError(
            f"{path}: {np.count_nonzero(array == study.ignore)} voxels carry the label 'ignore' ({study.ignore}),"
            f" expected none: {no_part}: relabel them, or leave the case out"
        )
    unknown = [int(value) for value in found if value not in study.known_values]
    if unknown:
        raise NasosegError(
            f"{path}: found the values {unknown[:5]}, expected those of dataset.json {list(study.known_values)[:20]}:"
            f" add them there, {or_else}"
        )


@dataclass
class Studies:
    """Hold all studies of a folder.

    Attributes:
        found: The studies, in order of their names.
        notes: What was passed over, for the summary.
    """

    found: list[Study]
    notes: list[str] = field(default_factory=list)


def find_studies(root: Path, *, rename: Mapping[str, str] | None = None) -> Studies:
    """Find all studies under ``root``.

    Args:
        root: A folder in one of the two layouts.
        rename: Other names for structures, by the name in the files.

    Raises:
        NasosegError: If there is no study, ``dataset.json`` is wrong, or a renamed structure does not occur. What is
            wrong with one patient only is kept as that study's ``fault``.
    """
    if not root.is_dir():
        raise NasosegError(f"{root}: no such folder: expected {_LAYOUTS}")
    studies = _find_cases(root) if (root / "imagesTr").is_dir() else _find_folders(root)
    if not studies.found:
        seen = ", ".join(sorted(p.name for p in root.iterdir())[:5]) or "nothing"
        raise NasosegError(f"{root}: no study found (it holds {seen}): expected {_LAYOUTS}")
    return _renamed(studies, rename or {})


def _find_folders(root: Path) -> Studies:
    studies = Studies([])
    for folder in (p for p in visible(root) if p.is_dir()):
        cts = [p for p in visible(folder) if p.is_file() and split_name(p)[0] == "ct" and split_name(p)[1]]
        if not cts and not (folder / "segmentations").is_dir():
            if not folder.name.endswith(".parts"):  # of a prepare that was interrupted
                studies.notes.append(f"{folder.name}: passed over, neither a CT nor segmentations in it")
            continue
        studies.found.append(_folder_study(folder, cts, studies.notes))
    return studies


def _folder_study(folder: Path, cts: list[Path], notes: list[str]) -> Study:
    if len(cts) != 1:
        found = " and ".join(p.name for p in cts) or "none"
        fault = f"{folder}: found {found} as its CT, expected one ct.nii.gz (or {', '.join(EXTENSIONS[1:])})"
        return Study(folder.name, folder, fault=f"{fault}: {'keep one' if cts else 'add it'}")
    contours: list[Contour] = []
    fault = ""
    masks = folder / "segmentations"
    for path in visible(masks) if masks.is_dir() else ():
        structure, ending = split_name(path)
        if not ending:
            if path.suffix not in (".raw", ".zraw"):  # the voxels of an .mhd
                notes.append(f"{folder.name}: {path.name} passed over, no image")
            continue
        twin = next((c.path for c in contours if c.structure == structure), None)
        if twin:
            fault = f"{path}: {structure!r} is also in {twin.name}: expected one file a structure: remove one"
        contours.append(Contour(structure, path))
    return Study(folder.name, cts[0], tuple(contours), fault=fault)


def _find_cases(root: Path) -> Studies:
    labels, ignore, ending, notes = read_dataset_json(root / "dataset.json")
    known = tuple(sorted({value for values in labels.values() for value in values} | {0}))
    first, rest = f"_0000{ending}", re.compile(rf"_\d{{4}}{re.escape(ending)}$")
    listed = visible(root / "imagesTr")
    images = {p.name.removesuffix(first): p for p in listed if p.name.endswith(first)}
    maps: dict[str, Path] = {}
    if (root / "labelsTr").is_dir():
        maps = {p.name.removesuffix(ending): p for p in visible(root / "labelsTr") if p.name.endswith(ending)}
    more = sum(1 for p in listed if rest.search(p.name)) - len(images)
    if more:
        notes.append(f"imagesTr: {more} files of further channels passed over; channel 0000 is read as the CT")
    if (root / "imagesTs").is_dir():
        notes.append("imagesTs: passed over, it has no labels")
    found = []
    for case in sorted(images.keys() | maps.keys()):
        if case not in images or case not in maps:
            missing = root / ("imagesTr/" + case + first if case not in images else "labelsTr/" + case + ending)
            fault = f"{missing}: no such file, expected an image and a label map of every case: add it, or remove both"
            found.append(Study(case, missing, fault=fault))
            continue
        contours = tuple(Contour(name, maps[case], values) for name, values in labels.items())
        found.append(Study(case, images[case], contours, known, ignore))
    return Studies(found, notes)


def read_dataset_json(path: Path) -> tuple[dict[str, tuple[int, ...]], int | None, str, list[str]]:
    """Return structures with their values, the ignore value, the files' ending, and notes."""
    try:
        described: Any = json.loads(path.read_text(encoding="utf-8"))
        entries: dict[str, Any] = dict(described["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NasosegError(
            f"{path}: cannot be read as nnU-Net's description ({type(error).__name__}: {error}): expected JSON with"
            ' "labels": {"background": 0, "<structure>": 1, ...}'
        ) from error
    if "dataset" in described:
        raise NasosegError(
            f'{path}: it lists its files under "dataset", which is not supported: expected them in imagesTr and'
            " labelsTr: move or link them there"
        )
    if entries and all(re.fullmatch(r"\d+", str(k)) and isinstance(v, str) for k, v in entries.items()):
        entries = {name: int(value) for value, name in entries.items()}  # nnU-Net v1 and the Medical Decathlon
    labels: dict[str, tuple[int, ...]] = {}
    for name, value in entries.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
            raise NasosegError(
                f"{path}: label {name!r} is {value!r}, expected a whole number or a list of them: correct it"
            )
        labels[composed(name)] = tuple(values)
    ignore = labels.pop(IGNORE, (None,))[0]
    labels = {name: values for name, values in labels.items() if values != (0,)}
    if not labels or any(0 in values for values in labels.values()):
        raise NasosegError(f"{path}: labels {entries!r}: expected one structure or more, and 0 for background only")
    ending = str(described.get("file_ending", ".nii.gz"))
    if ending not in EXTENSIONS:
        raise NasosegError(
            f"{path}: file_ending {ending!r}, expected one of {', '.join(EXTENSIONS)}: convert the files"
        )
    channels = described.get("channel_names", described.get("modality", {"0": "CT"}))
    channel = str(channels.get("0", "CT")) if isinstance(channels, dict) else "CT"
    notes = [] if "ct" in channel.casefold() else [f"dataset.json: channel 0 is called {channel!r}, read as CT in HU"]
    return labels, ignore, ending, notes


def _renamed(studies: Studies, rename: Mapping[str, str]) -> Studies:
    names = sorted({c.structure for study in studies.found for c in study.contours})
    rename = {composed(old): composed(new) for old, new in rename.items()}
    for old in rename:
        if old not in names:
            raise NasosegError(f"--rename: no structure is called {old!r} in the files: {nearest(old, names)}")
    found = []
    for study in studies.found:
        contours = tuple(replace(c, structure=rename.get(c.structure, c.structure)) for c in study.contours)
        structures = [c.structure for c in contours]
        twice = next((c for c in contours if structures.count(c.structure) > 1), None)
        fault = study.fault
        if twice and not fault:
            fault = f"{twice.path}: after --rename the patient has {twice.structure!r} twice, expected once: remove one"
        found.append(replace(study, contours=contours, fault=fault))
    return Studies(found, studies.notes)
