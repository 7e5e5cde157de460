"""Read a structures file: a clinic's spellings, in YAML.

A file says, for every structure, what it is called and in which ways it is written. ``nasoseg/structures.yaml`` is the
one that is shipped, and the example of the format; ``nasoseg structures ROOT --draft FILE`` writes one to fill in.
"""

import os
import re
import reprlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from nasoseg.errors import NasosegError, nearest
from nasoseg.name_patterns import LONGEST_NAME, compile_pattern
from nasoseg.safe_names import printable
from nasoseg.yaml_files import read_yaml

SHIPPED = Path(__file__).with_name("structures.yaml")
ROI_TYPES = (
    "ORGAN", "GTV", "CTV", "PTV", "EXTERNAL", "AVOIDANCE", "CAVITY", "BOLUS", "CONTRAST_AGENT", "TREATED_VOLUME",
    "IRRAD_VOLUME", "MARKER", "REGISTRATION", "ISOCENTER", "CONTROL", "DOSE_REGION", "SUPPORT", "FIXATION",
    "BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD",
)  # fmt: skip
"""RT ROI Interpreted Types: DICOM PS3.3, C.8.8.8."""

_SECTIONS = ("extends", "structures", "pairs", "names", "ignore", "sets")
_KEYS = ("tg263", "type", "colour", "synonyms", "patterns")


@dataclass(frozen=True)
class Entry:
    """Hold what a file says of one structure; None: nothing.

    Attributes:
        name: Its name.
        tg263: Its TG-263 name.
        roi_type: Its RT ROI Interpreted Type.
        colour: Display colour, red, green, blue in 0..255.
        synonyms: Other spellings.
        patterns: Regular expressions that match the whole of a name, whatever its case.
        bases: Spellings that need a word for ``side``, such as ``Parotis`` beside ``li``; for one side of a pair.
        side: ``L``, ``R``, or empty.
    """

    name: str
    tg263: str | None = None
    roi_type: str | None = None
    colour: tuple[int, int, int] | None = None
    synonyms: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    bases: tuple[str, ...] = ()
    side: str = ""


@dataclass(frozen=True)
class StructureFile:
    """Hold one file.

    Attributes:
        path: Where it is.
        extends: ``shipped``, ``nothing``, or the file whose decisions hold where this one has none.
        entries: Its structures; a pair is two of them.
        names: The structure of a ROI name; ``ignore``, or None where nobody has decided yet.
        ignore: Shell patterns (``zz*``) of names that are no structures.
        sets: Lists of structures, by the name of the list.
    """

    path: Path
    extends: str = "shipped"
    entries: tuple[Entry, ...] = ()
    names: dict[str, str | None] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_chain(path: str | os.PathLike[str] | None) -> list[StructureFile]:
    """Read a file and those it extends, itself first; None: the shipped one.

    Raises:
        NasosegError: As ``read_structure_file``; and if files extend each other in a circle.
    """
    files = [read_structure_file(SHIPPED if path is None else path)]
    seen = {files[0].path.resolve()}
    while files[-1].path != SHIPPED and files[-1].extends != "nothing":
        last = files[-1]
        below = SHIPPED if last.extends == "shipped" else last.path.parent / last.extends
        if below.resolve() in seen:
            raise NasosegError(f"{last.path}: extends {last.extends!r}, which extends this file: remove one `extends`")
        seen.add(below.resolve())
        files.append(read_structure_file(below))
    return files


def read_structure_file(path: str | os.PathLike[str]) -> StructureFile:
    """Read and check one file.

    Raises:
        NasosegError: If it cannot be read, is no YAML, or has an unknown key, a key twice, a value of the wrong kind,
            an unusable name, or a regular expression that is wrong or could take very long.
    """
    path = Path(path)
    given = _mapping(read_yaml(path, kind="a structures file", keys=_SECTIONS, loader=_Loader), str(path), _SECTIONS)
    extends = given.get("extends", "shipped")
    if not isinstance(extends, str) or not extends:
        raise _wrong(f"{path}: extends", extends, "`shipped`, `nothing` or another structures file")
    entries: list[Entry] = []
    for section in ("structures", "pairs"):
        for name, value in _mapping(given.get(section), f"{path}: {section}").items():
            where = f"{path}: {section}.{printable(str(name))[:70]}"
            _check_name(name, where)
            entry = _entry(name, value, where)
            if section == "pairs" and entry.patterns:
                raise NasosegError(
                    f"{where}.patterns: a pair has none, as a pattern must know its side: expected them under"
                    f" `structures`, with {name}_L and {name}_R"
                )
            entries += _both_sides(entry) if section == "pairs" else [entry]
    names = _mapping(given.get("names"), f"{path}: names")
    for name, structure in names.items():
        if not isinstance(name, str) or not isinstance(structure, str | None):
            raise _wrong(f"{path}: names: {reprlib.repr(name)}", structure, "a structure's name, `ignore` or nothing")
    sets = _mapping(given.get("sets"), f"{path}: sets")
    return StructureFile(
        path,
        extends,
        tuple(entries),
        names,
        _texts(given.get("ignore"), f"{path}: ignore"),
        {str(name): _texts(value, f"{path}: sets.{printable(str(name))}") for name, value in sets.items()},
    )


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's readers silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands there twice", key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else id(key_node))
        return super().construct_mapping(node, deep)


def _entry(name: str, value: Any, where: str) -> Entry:
    given = _mapping(value, where, _KEYS)
    for key in ("tg263", "type"):
        if key in given and not isinstance(given[key], str):
            raise _wrong(f"{where}.{key}", given[key], "a text")
    roi_type, colour = given.get("type"), given.get("colour")
    if roi_type is not None and roi_type not in ROI_TYPES:
        raise NasosegError(f"{where}.type: found {roi_type!r}: {nearest(roi_type, ROI_TYPES)}")
    if colour is not None:
        parts = colour if isinstance(colour, list) else []
        if len(parts) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in parts):
            raise _wrong(f"{where}.colour", colour, "three whole numbers of 0 to 255: [red, green, blue]")
        colour = tuple(parts)
    return Entry(
        name,
        given.get("tg263"),
        roi_type,
        cast("tuple[int, int, int] | None", colour),
        _texts(given.get("synonyms"), f"{where}.synonyms"),
        tuple(compile_pattern(p, f"{where}.patterns") for p in _texts(given.get("patterns"), f"{where}.patterns")),
    )


def _both_sides(pair: Entry) -> list[Entry]:
    tg263 = pair.tg263
    return [
        Entry(
            f"{pair.name}_{side}",
            tg263 and f"{tg263}_{side}",
            pair.roi_type,
            pair.colour,
            bases=(pair.name, *([tg263] if tg263 else []), *pair.synonyms),
            side=side,
        )
        for side in "LR"
    ]


def _check_name(name: Any, where: str) -> None:
    usable = isinstance(name, str) and name.isprintable() and name == name.strip() and 0 < len(name) <= LONGEST_NAME
    if not usable or name == "ignore" or any(part in name for part in ("/", "\\", "..")):
        raise NasosegError(
            f"{where}: not usable as a structure's name: expected 1 to {LONGEST_NAME} printable characters without"
            " '/', '\\', '..' or blanks at its ends, in quotes if YAML reads something else than a text: rename it"
        )


def _mapping(value: Any, where: str, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check a mapping, of which nothing may stand for an empty one, and its keys if there is a choice of them."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(where, value, f"a mapping{' with ' + ', '.join(keys) if keys else ''}")
    for key in value if keys else ():
        if key not in keys:
            raise NasosegError(f"{where}: unknown key {reprlib.repr(key)}: {nearest(str(key)[:99], keys)}")
    return dict(value)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = value if isinstance(value, list) else [None]
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            found = value if text is None else text
            raise _wrong(where, found, "a list of texts, in quotes where YAML reads something else")
    return tuple(texts)


def _wrong(where: str, found: Any, expected: str) -> NasosegError:
    return NasosegError(f"{where}: found {reprlib.repr(found)}, expected {expected}: correct it")
