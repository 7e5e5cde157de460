"""Decide which structure a clinic's ROI name means, and say by which rule."""

import os
import zlib
from collections.abc import Mapping, Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass, replace
from typing import Self

from nasoseg import labels
from nasoseg.errors import NasosegError, nearest
from nasoseg.labels import Structure
from nasoseg.name_patterns import LONGEST_NAME
from nasoseg.sides import plain, sided_forms, sides_named
from nasoseg.structure_file import Entry, read_chain
from nasoseg.structure_rules import RULES, Claim, FileRules, Rule, distinct, key_of

NO_TISSUE = frozenset(
    {
        "MARKER", "REGISTRATION", "ISOCENTER", "CONTROL", "DOSE_REGION", "DOSE_MEASUREMENT", "SUPPORT", "FIXATION",
        "BOLUS", "EXTERNAL", "BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD",
        "TREATED_VOLUME", "IRRAD_VOLUME",
    }
)  # fmt: skip
"""RT ROI Interpreted Types of what is no structure to learn: an unknown name of such a type is ignored."""


@dataclass(frozen=True)
class MappedStructure(Structure):
    """Name one structure, with what an RTSTRUCT says of it.

    Attributes:
        roi_type: Its RT ROI Interpreted Type.
    """

    roi_type: str = "ORGAN"


@dataclass(frozen=True)
class Match:
    """Say what a ROI name means.

    Attributes:
        structure: The structure; None where the name means none, or more than one.
        rule: How that was decided: one of ``RULES``; ``ignored``; ``unwanted``, a structure that ``take`` left out;
            ``duplicate``, a structure that another name of the patient means more plainly (``assign``); ``conflict``, a
            name that two structures claim, or a structure that two names of the patient mean alike: an error in the
            names or the structures file; ``unknown``.
        note: What decided it, or why it stays undecided; may hold the ROI name as it was.
    """

    structure: MappedStructure | None
    rule: Rule
    note: str = ""


class StructureMap:
    """Match ROI names with structures; ``load_structure_map`` makes one.

    Attributes:
        sets: Lists of structures' names, by the name of the list: ``paper``, ``openkbp``, ``segrap2023`` ...
    """

    def __init__(
        self,
        layers: Sequence[FileRules],
        structures: Mapping[str, MappedStructure],
        sets: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._layers = layers  # the user's first
        self._structures = structures  # by key
        self.sets = sets

    def match(self, roi_name: str, *, roi_type: str = "") -> Match:
        """Decide what a ROI name means.

        Every file is asked in turn, the user's first, in the order of ``RULES``. Of a name of more than 64 characters
        the spelling alone counts: neither ``ignore`` nor patterns are tried.

        Args:
            roi_name: The name as it was found; untrusted text of any kind.
            roi_type: Its RT ROI Interpreted Type; one of ``NO_TISSUE`` lets an unknown name be ignored.
        """
        for layer in self._layers:
            claim = layer.find(roi_name)
            if claim:
                return self._decided(claim)
        if roi_type in NO_TISSUE:
            return Match(None, "ignored", f"type {roi_type}")
        return Match(None, "unknown", self._hint(roi_name))

    def assign(self, roi_names: Sequence[str]) -> list[Match]:
        """Decide what the ROI names of one patient mean, so that no structure is found twice.

        Where several names mean one structure, the one that the earliest rule found has it; the others are duplicates.
        Where the same rule found several, or one name is there several times, they are in conflict.

        Returns:
            One match a name, in their order.
        """
        matches = [self.match(name) for name in roi_names]
        found: dict[str, list[int]] = {}
        for i, match in enumerate(matches):
            if match.structure:
                found.setdefault(match.structure.name, []).append(i)
        for name, places in found.items():
            best = min((matches[i].rule for i in places), key=RULES.index)
            tied = [i for i in places if matches[i].rule == best]
            first = roi_names[tied[0]]
            spelled = " and ".join(repr(roi_names[i]) for i in tied)
            for i in places:
                if matches[i].rule != best:
                    matches[i] = Match(None, "duplicate", f"{name} is {first!r} ({best})")
                elif len(tied) > 1:
                    note = f"{spelled} all mean {name} ({best}): rename, or name what to `ignore` in a structures file"
                    matches[i] = Match(None, "conflict", note)
        return matches

    def structures(self, wanted: Sequence[str] | None = None) -> list[MappedStructure]:
        """Return structures with their TG-263 names, types and colours.

        Args:
            wanted: Their names, or the name of one of ``sets``; a structure gets the spelling that is used here. None:
                all.

        Raises:
            NasosegError: If a name is no structure's, or two are spellings of one.
        """
        if wanted is None:
            return list(self._structures.values())
        return list(self._taken(wanted).values())

    def take(self, wanted: Sequence[str]) -> Self:
        """Return a map that finds these structures only, under these names; other known ones are ``unwanted``.

        Args:
            wanted: As for ``structures``.

        Raises:
            NasosegError: As for ``structures``.
        """
        return type(self)(self._layers, self._taken(wanted), self.sets)

    def _taken(self, wanted: Sequence[str]) -> dict[str, MappedStructure]:
        if isinstance(wanted, str):
            if wanted not in self.sets:
                raise NasosegError(f"structures: no set is called {wanted!r}: {nearest(wanted, self.sets)}")
            wanted = self.sets[wanted]
        taken: dict[str, MappedStructure] = {}
        for name in labels.names(wanted):
            key = key_of(self._layers, name)
            if key is None or key not in self._structures:
                valid = [structure.name for structure in self._structures.values()]
                raise NasosegError(f"structures: {name!r} is not in the structures file: {nearest(name, valid)}")
            if key in taken:
                raise NasosegError(f"structures: {name!r} means the same as {taken[key].name!r}: remove one")
            taken[key] = replace(self._structures[key], name=name)
        return taken

    def _decided(self, claim: Claim) -> Match:
        if claim.rule == "ignored":
            return Match(None, "ignored", claim.note)
        if len(claim.keys) > 1:
            found = " and ".join(repr(self._structures[k].name if k in self._structures else k) for k in claim.keys)
            note = f"claimed by {found} ({claim.rule}{claim.note and ': ' + claim.note}): correct the structures file"
            return Match(None, "conflict", note)
        structure = self._structures.get(claim.keys[0])
        if structure is None:
            return Match(None, "unwanted", f"{claim.keys[0]} was not asked for")
        return Match(structure, claim.rule, claim.note)

    def _hint(self, roi_name: str) -> str:
        if len(sides_named(roi_name)) > 1:
            return "names both sides"
        if any(plain(roi_name) in layer.sided for layer in self._layers):
            return "names no side"
        return "too long for patterns" if len(roi_name) > LONGEST_NAME else ""


def load_structure_map(path: str | os.PathLike[str] | None = None) -> StructureMap:
    """Load the shipped structures file, or one that a user wrote, with what it extends.

    Returns:
        The map; its ``sets`` are those of the files, ``paper`` and ``openkbp``.

    Raises:
        NasosegError: If a file is wrong (``read_structure_file``), two of its structures claim one spelling, or a name
            is given to a structure that does not exist.
    """
    layers: list[FileRules] = []
    structures: dict[str, MappedStructure] = {}
    sets = {"paper": tuple(labels.names(labels.PAPER)), "openkbp": tuple(labels.names(labels.OPENKBP))}
    for file in reversed(read_chain(path)):
        keys: dict[str, str] = {}
        for entry in file.entries:
            key = _same(entry, layers, structures) or entry.name
            twin = next((name for name, other in keys.items() if other == key), None)
            if twin:
                raise NasosegError(
                    f"{file.path}: {twin!r} and {entry.name!r} are one structure: expected one entry of each: join them"
                )
            keys[entry.name] = key
        structures |= {keys[entry.name]: _merged(entry, structures.get(keys[entry.name])) for entry in file.entries}
        layers.insert(0, FileRules(file, keys, layers))
        sets |= file.sets
    return StructureMap(layers, structures, sets)


def _same(entry: Entry, layers: Sequence[FileRules], structures: Mapping[str, MappedStructure]) -> str | None:
    """Return the key of the structure, in the files that are extended, that an entry says more of.

    An entry whose name is only a synonym there, and whose TG-263 name is another, is a structure of its own.
    """
    key = key_of(layers, entry.name)
    if key is None:
        return key_of(layers, entry.tg263) if entry.tg263 else None
    own = (key, structures[key].name, structures[key].tg263)
    named = plain(entry.name) in map(plain, own)
    return key if named or entry.tg263 is None or plain(entry.tg263) == plain(structures[key].tg263) else None


def _merged(entry: Entry, below: MappedStructure | None) -> MappedStructure:
    """Fill in what a file does not say of a structure from the file that it extends, else from the presets."""
    known = below or labels.structure(entry.name)
    colour = entry.colour or (known.colour if known.colour != Structure.colour else _colour(entry.name))
    roi_type = entry.roi_type or (below.roi_type if below else MappedStructure.roi_type)
    synonyms = tuple(distinct((*known.synonyms, *entry.synonyms)))
    return MappedStructure(entry.name, entry.tg263 or known.tg263, synonyms, colour, roi_type)


def _colour(name: str) -> tuple[int, int, int]:
    """Choose a colour for a name, always the same; the two sides of a pair differ in lightness alone."""
    side, rest = sided_forms(name)[0] if len(sides_named(name)) == 1 else ("", plain(name))
    lightness = {"L": 0.68, "R": 0.42}.get(side, 0.55)
    red, green, blue = hls_to_rgb(zlib.crc32(rest.encode()) / 2**32, lightness, 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)
