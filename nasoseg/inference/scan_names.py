"""Names of the scans in a folder: each its own, and as far as can be whatever else is in the folder."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nasoseg.safe_names import safe_file_name


@dataclass(frozen=True)
class Naming:
    """Say what a scan may be called.

    Attributes:
        plain: The name of its folder or file: what it is called where no other scan has that name.
        place: The names of all folders down to it.
        key: What tells it from every other scan.
    """

    plain: str
    place: tuple[str, ...]
    key: str


def names_apart(namings: Sequence[Naming]) -> list[str]:
    """Name scans so that no two names are equal without regard to case, each safe as a file name.

    All scans of one name are named by their place, and with a checksum of their key where that is equal too: another
    scan in the folder never takes over a name that one of them has.
    """
    forms = [_forms(naming) for naming in namings]
    levels = [0] * len(forms)
    while True:
        names = [form[level] for form, level in zip(forms, levels, strict=True)]
        count = Counter(name.casefold() for name in names)
        again = [i for i, name in enumerate(names) if count[name.casefold()] > 1 and levels[i] < len(forms[i]) - 1]
        if not again:
            break
        for i in again:
            levels[i] += 1
    return _numbered(names)


def _forms(naming: Naming) -> tuple[str, str, str]:
    place = safe_file_name("_".join(naming.place))
    return safe_file_name(naming.plain), place, f"{place}_{zlib.crc32(naming.key.encode()):08x}"


def _numbered(names: Sequence[str]) -> list[str]:
    """Number what has one checksum: two of a thousand scans of one place do once in ten thousand times."""
    taken: set[str] = set()
    numbered = []
    for name in names:
        own, number = name, 1
        while own.casefold() in taken:
            number += 1
            own = f"{name}_{number}"
        taken.add(own.casefold())
        numbered.append(own)
    return numbered
