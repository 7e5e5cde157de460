"""The file of a split: JSON that is read as if by a stranger's hand, and checked to leak nothing.

Under ``clean`` each fold lists the patients of ``train``, ``validation`` and ``test``. Under ``paper`` it lists the
slices of ``test``, by patient: ``validation`` is the same, and ``train`` is everything else.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

from nasoseg.data.pseudonyms import patient_of
from nasoseg.errors import NasosegError
from nasoseg.volumes.volume import LARGEST_SIDE

_MOST_BYTES = 64 * 2**20  # a paper split of ten thousand scans is half as long
_MOST_SLICES = 10**7  # of all patients; the same ten thousand scans have two million
_MOST_DEALT = 10**8  # slices times folds of a paper split, whose training parts are written out when it is read
_LONGEST_FINDING = 300
_Members = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Parsed:
    """Hold a split file's content, checked; ``folds`` are (train, validation, test), patient key -> slices."""

    protocol: Literal["clean", "paper"]
    seed: int
    store_sha256: str
    slices: dict[str, int]
    folds: list[tuple[_Members, _Members, _Members]]


def read_json(path: Path) -> Any:
    """Read a JSON file; refuse one that is missing, larger than 64 MiB, no JSON, or that names a key twice."""
    if not path.is_file():
        raise NasosegError(f"{path}: no such split file: expected one made by `nasoseg split`")
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise _refusal(path, f"{size} bytes", f"at most {_MOST_BYTES}")
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        finding = " ".join(str(error).split())[:200]
        raise _refusal(path, f"no readable JSON ({finding})", "a split made by `nasoseg split`") from error


def parse_split(path: Path, document: Any) -> Parsed:
    """Check a split file's content.

    Raises:
        NasosegError: If something is missing, of a wrong type or out of range, if a patient is on two sides under
            ``clean``, or if a slice is not tested exactly once.
    """
    if not isinstance(document, dict) or document.get("format") != "nasoseg-split":
        raise _refusal(path, "no split", 'an object with "format": "nasoseg-split"')
    if document.get("version") != 1:
        raise _refusal(path, f"version {document.get('version')!r}", "version 1")
    protocol, seed = document.get("protocol"), document.get("seed")
    if protocol != "clean" and protocol != "paper":
        raise _refusal(path, f"protocol {protocol!r}", "'clean' or 'paper'")
    if not _is_whole(seed, 0, 2**32 - 1):
        raise _refusal(path, f"seed {seed!r}", "a whole number from 0 to 2**32 - 1")
    sha256 = document.get("store_sha256")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise _refusal(path, f"store_sha256 {sha256!r}", "64 hexadecimal digits")
    slices = document.get("slices")
    if not isinstance(slices, dict) or not all(_is_whole(n, 1, LARGEST_SIDE) for n in slices.values()):
        raise _refusal(path, f"slices {_short(slices)}", "the number of slices of every patient")
    folds, total = document.get("folds"), sum(slices.values())
    if total > _MOST_SLICES:
        raise _refusal(path, f"{total} slices", f"at most {_MOST_SLICES} in all")
    if not isinstance(folds, list) or len(folds) < 2:
        raise _refusal(path, f"folds {_short(folds)}", "a list of two folds or more")
    if protocol == "paper" and len(folds) * total > _MOST_DEALT:
        raise _refusal(
            path, f"{len(folds)} folds of {total} slices", f"at most {_MOST_DEALT // total} folds of so many"
        )
    if protocol == "clean":
        whole = {key: tuple(range(number)) for key, number in slices.items()}  # shared by all folds
        parsed = [_parse_clean(path, f"fold {number}", fold, whole) for number, fold in enumerate(folds)]
    else:
        parsed = [_parse_paper(path, f"fold {number}", fold, slices) for number, fold in enumerate(folds)]
    _check_tested_once(path, slices, [test for _, _, test in parsed])
    return Parsed(protocol, seed, sha256, slices, parsed)


def _parse_clean(path: Path, place: str, fold: Any, slices: _Members) -> tuple[_Members, _Members, _Members]:
    side_of: dict[str, str] = {}
    side_of_patient: dict[str, tuple[str, str]] = {}  # with one of his scans
    parts: list[_Members] = []
    for side in ("train", "validation", "test"):
        keys = fold.get(side) if isinstance(fold, dict) else None
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise _refusal(path, f"{place}: {side} {_short(keys)}", "a list of one patient or more")
        for key in keys:
            if key not in slices:
                raise _refusal(path, f"{place}: patient {key!r} in {side}", "a patient listed under slices")
            if key in side_of:
                raise _refusal(path, f"{place}: patient {key!r} in {side_of[key]} and in {side}", "each patient once")
            side_of[key] = side
            other, scan = side_of_patient.setdefault(patient_of(key), (side, key))
            if other != side:
                found = f"scans of one patient, {scan!r} in {other} and {key!r} in {side}"
                raise _refusal(path, f"{place}: {found}", "all scans of a patient on one side")
        parts.append({key: slices[key] for key in keys})
    if missing := sorted(slices.keys() - side_of.keys()):
        raise _refusal(path, f"{place}: patient {missing[0]!r} in no part", "each patient in one part")
    return parts[0], parts[1], parts[2]


def _parse_paper(path: Path, place: str, fold: Any, slices: dict[str, int]) -> tuple[_Members, _Members, _Members]:
    tested = fold.get("test") if isinstance(fold, dict) else None
    if not isinstance(tested, dict) or not tested:
        raise _refusal(path, f"{place}: test {_short(tested)}", "the slices of one patient or more")
    for key, numbers in tested.items():
        if key not in slices:
            raise _refusal(path, f"{place}: patient {key!r}", "a patient listed under slices")
        last = slices[key] - 1
        if not isinstance(numbers, list) or not numbers or not all(_is_whole(n, 0, last) for n in numbers):
            raise _refusal(path, f"{place}: slices {_short(numbers)} of patient {key!r}", f"numbers from 0 to {last}")
        if numbers != sorted(set(numbers)):
            raise _refusal(path, f"{place}: slices {_short(numbers)} of patient {key!r}", "rising numbers, each once")
    test = {key: tuple(numbers) for key, numbers in tested.items()}
    others = {key: set(range(number)) - set(test.get(key, ())) for key, number in slices.items()}
    return {key: tuple(sorted(rest)) for key, rest in others.items() if rest}, test, test


def _check_tested_once(path: Path, slices: Mapping[str, int], tests: list[_Members]) -> None:
    for key, number in slices.items():
        tested = Counter(n for test in tests for n in test.get(key, ()))
        wrong = next((n for n in range(number) if tested[n] != 1), None)
        if wrong is not None:
            raise _refusal(
                path, f"patient {key!r}: slice {wrong} tested in {tested[wrong]} folds", "each slice in one fold"
            )


def render_json(value: Any, *, indent: int = 0) -> str:
    """Write JSON with every entry on its own line, but lists of names or numbers on one."""
    inner, outer = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}: {render_json(item, indent=indent + 1)}" for key, item in value.items()]
        return "{" + inner + f",{inner}".join(entries) + outer + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + inner + f",{inner}".join(render_json(item, indent=indent + 1) for item in value) + outer + "]"
    return json.dumps(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"{twice!r} is there twice")
    return found


def _is_whole(value: Any, lowest: int, highest: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refusal(path: Path, found: str, expected: str) -> NasosegError:
    found = found if len(found) <= _LONGEST_FINDING else found[:_LONGEST_FINDING] + "..."
    return NasosegError(f"{path}: found {found}, expected {expected}: make the split again with `nasoseg split`")
