"""The rules by which one structures file decides what a name means."""

import fnmatch
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nasoseg import labels
from nasoseg.errors import NasosegError, nearest
from nasoseg.name_patterns import LONGEST_NAME
from nasoseg.sides import plain, sided_forms
from nasoseg.structure_file import SHIPPED, Entry, StructureFile

Rule = Literal[
    "exact", "folded", "tg263", "synonym", "laterality", "pattern",
    "ignored", "unwanted", "duplicate", "conflict", "unknown",
]  # fmt: skip

RULES: tuple[Rule, ...] = ("exact", "folded", "tg263", "synonym", "laterality", "pattern")
"""The rules that find a structure, in the order in which they are tried; names to be ignored come before patterns."""


@dataclass(frozen=True)
class Claim:
    """Say what a file makes of a name.

    Attributes:
        keys: Keys of the structures that claim it; none where it is to be ignored.
        rule: By which rule.
        note: The pattern, or the section of the file, that decided it.
    """

    keys: tuple[str, ...]
    rule: Rule
    note: str = ""


class FileRules:
    """Hold the rules of one file.

    Args:
        file: The file.
        keys: Key of the structure behind each name of the file; structures of several files that are one share a key.
        below: The rules of the files that it extends, the next one first.

    Raises:
        NasosegError: If two structures claim one spelling, or ``names`` has a structure that does not exist.
    """

    def __init__(self, file: StructureFile, keys: Mapping[str, str], below: Sequence["FileRules"]) -> None:
        self.file = file
        self.exact = keys
        self.spelled: dict[str, Claim] = {}  # by folded spelling
        self.sided: dict[str, dict[str, str]] = {}  # keys by side, by folded spelling without it
        self.ignore = [(re.compile(fnmatch.translate(glob), re.IGNORECASE), glob) for glob in file.ignore]
        self.patterns = [(pattern, keys[entry.name]) for entry in file.entries for pattern in entry.patterns]
        for entry in file.entries:
            for rule, spellings in _spellings(entry, shipped=file.path == SHIPPED).items():
                for spelling in spellings:
                    self._add(spelling, Claim((keys[entry.name],), rule))
                    for side, rest in sided_forms(spelling) if entry.side else ():
                        self._add_sided(rest, side, keys[entry.name])
            for base in entry.bases:
                self._add_sided(plain(base), entry.side, keys[entry.name])
        for name, structure in file.names.items():
            if structure == "ignore":
                self._add(name, Claim((), "ignored", "names"))
            elif structure is not None:
                key = key_of([self, *below], structure)
                if key is None:
                    valid = [*keys, *(name for layer in below for name in layer.exact)]
                    raise NasosegError(
                        f"{file.path}: names: {reprlib.repr(name)}: no structure {reprlib.repr(structure)}:"
                        f" {nearest(structure[:LONGEST_NAME], valid)}"
                    )
                self._add(name, Claim((key,), "synonym", "names"))

    def find(self, name: str) -> Claim | None:
        """Return what this file says of a name."""
        claim = self.spelling(name)
        if claim:
            return claim
        stripped = name.strip()
        if len(stripped) > LONGEST_NAME:
            return None
        for glob, text in self.ignore:
            if glob.match(stripped):
                return Claim((), "ignored", text)
        matching = [(key, pattern.pattern) for pattern, key in self.patterns if pattern.fullmatch(stripped)]
        if not matching:
            return None
        return Claim(distinct(key for key, _ in matching), "pattern", " and ".join(distinct(p for _, p in matching)))

    def spelling(self, name: str) -> Claim | None:
        """Return what this file says of a name by its spellings alone."""
        if name in self.exact:
            return Claim((self.exact[name],), "exact")
        claim = self.spelled.get(plain(name) or name)
        if claim:
            return claim
        found = (self.sided[rest].get(side) for side, rest in sided_forms(name) if rest in self.sided)
        keys = distinct(key for key in found if key)
        return Claim(keys, "laterality") if keys else None

    def _add(self, spelling: str, claim: Claim) -> None:
        known = self.spelled.setdefault(plain(spelling) or spelling, claim)
        if known.keys != claim.keys:
            raise self._two(spelling, *(c.keys[0] if c.keys else "ignore" for c in (known, claim)))

    def _add_sided(self, rest: str, side: str, key: str) -> None:
        known = self.sided.setdefault(rest, {}).setdefault(side, key)
        if known != key:
            raise self._two(f"{rest} {side}", known, key)

    def _two(self, spelling: str, one: str, other: str) -> NasosegError:
        return NasosegError(
            f"{self.file.path}: {spelling!r} is claimed by {one!r} and by {other!r}: expected one structure for each"
            " spelling (case, accents, spaces, _ and - make no difference): remove it from one"
        )


def _spellings(entry: Entry, *, shipped: bool) -> dict[Rule, list[str]]:
    """Return the spellings of one structure by the rule that they stand for, the strongest first."""
    same = [
        s
        for s in (*labels.PAPER, *labels.OPENKBP)
        if shipped and labels.identity(s.name) == labels.identity(entry.name)
    ]
    tg263 = [name for name in (entry.tg263, *(s.tg263 for s in same)) if name]
    synonyms = [*entry.synonyms, *(spelling for s in same for spelling in (s.name, *s.synonyms))]
    return {"folded": [entry.name], "tg263": tg263, "synonym": synonyms}


def key_of(layers: Sequence[FileRules], name: str) -> str | None:
    """Return the key of the structure that is spelled so."""
    for layer in layers:
        claim = layer.spelling(name)
        if claim and len(claim.keys) == 1:
            return claim.keys[0]
    return None


def distinct(items: Iterable[str]) -> tuple[str, ...]:
    """Drop repetitions, keeping the order."""
    return tuple(dict.fromkeys(items))
