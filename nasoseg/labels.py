"""Structures by name: TG-263 names, synonyms and colours; the paper's 14 and OpenKBP's 10 as presets.

TG-263 is the standard nomenclature of radiotherapy (Mayo et al., Int. J. Radiat. Oncol. Biol. Phys. 100,
1057-1066, 2018). A structure keeps the name that its user gave it; the TG-263 name and the synonyms only decide
which names mean the same thing.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nasoseg.errors import NasosegError, nearest


@dataclass(frozen=True)
class Structure:
    """Name one structure.

    Attributes:
        name: The name used in stores, tables and files.
        tg263: The TG-263 primary name.
        synonyms: Other spellings that mean the same; compared without case, spaces, ``_`` and ``-``.
        colour: Display colour, red, green, blue in 0..255 (Okabe and Ito's colour-blind-safe set, then shades of it).
    """

    name: str
    tg263: str
    synonyms: tuple[str, ...] = ()
    colour: tuple[int, int, int] = (128, 128, 128)


OPENKBP: tuple[Structure, ...] = (
    Structure("Brainstem", "Brainstem", ("Brain Stem",), (0, 114, 178)),
    Structure("SpinalCord", "SpinalCord", ("Spinal Cord", "Cord"), (240, 228, 66)),
    Structure("RightParotid", "Parotid_R", ("Parotid R", "Right Parotid", "Parotid Rt", "R Parotid"), (213, 94, 0)),
    Structure("LeftParotid", "Parotid_L", ("Parotid L", "Left Parotid", "Parotid Lt", "L Parotid"), (230, 159, 0)),
    Structure("Esophagus", "Esophagus", ("Oesophagus",), (204, 121, 167)),
    Structure("Larynx", "Larynx", (), (0, 158, 115)),
    Structure("Mandible", "Bone_Mandible", ("Bone_Mandible",), (86, 180, 233)),
    Structure("PTV56", "PTV_5600", ("PTV_56",), (160, 160, 160)),
    Structure("PTV63", "PTV_6300", ("PTV_63",), (120, 94, 240)),
    Structure("PTV70", "PTV_7000", ("PTV_70",), (220, 38, 127)),
)
"""The ten structures of OpenKBP (Babier et al. 2021): seven organs, then three planning target volumes."""

PAPER: tuple[Structure, ...] = (
    Structure("locref", "Localization", ("Loc Ref", "Localisation"), (160, 160, 160)),
    Structure("CTV2", "CTV2", (), (220, 38, 127)),
    Structure("CTVnd", "CTVn", ("CTV nd",), (120, 94, 240)),
    Structure("Mandible_L", "Bone_Mandible_L", ("Left Mandible",), (86, 180, 233)),
    Structure("Mandible_R", "Bone_Mandible_R", ("Right Mandible",), (40, 130, 190)),
    Structure("Parotid_L", "Parotid_L", ("LeftParotid", "Parotid Lt", "L Parotid"), (230, 159, 0)),
    Structure("Parotid_R", "Parotid_R", ("RightParotid", "Parotid Rt", "R Parotid"), (213, 94, 0)),
    Structure("Brainstem", "Brainstem", ("Brain Stem",), (0, 114, 178)),
    Structure("SpinalCord", "SpinalCord", ("Spinal Cord", "Cord"), (240, 228, 66)),
    Structure("Eye_L", "Eye_L", ("Eyes L", "Left Eye", "Eye Lt"), (0, 158, 115)),
    Structure("Eye_R", "Eye_R", ("Eyes R", "Right Eye", "Eye Rt"), (0, 110, 80)),
    Structure("OpticNrv_L", "OpticNrv_L", ("Optic Nerves L", "Optic Nerve L", "Left Optic Nerve"), (204, 121, 167)),
    Structure("OpticNrv_R", "OpticNrv_R", ("Optic Nerves R", "Optic Nerve R", "Right Optic Nerve"), (150, 80, 120)),
    Structure("OpticChiasm", "OpticChiasm", ("Optic Chiasm", "Chiasm"), (200, 200, 200)),
)
"""The paper's fourteen labels (Luo et al. 2020, section 3.1), under TG-263 names where TG-263 has one."""

Labels = Sequence[str | Structure]


def composed(name: str) -> str:
    """Make one character of a letter and its accent: in names of files that macOS wrote they are often two."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Fold case and drop spaces, ``_`` and ``-``: ``Parotid_L``, ``parotid l`` and ``PAROTID-L`` fold alike."""
    return re.sub(r"[\s_\-]+", "", composed(name)).casefold()


def _known() -> dict[str, Structure]:
    known: dict[str, Structure] = {}
    for structure in (*OPENKBP, *PAPER):
        for spelling in (structure.name, structure.tg263, *structure.synonyms):
            known.setdefault(folded(spelling), structure)
    return known


_KNOWN = _known()


def identity(name: str) -> str:
    """Return what a name means: the folded TG-263 name of a known structure, else the folded name itself.

    Two names with the same identity are two spellings of one structure.
    """
    structure = _KNOWN.get(folded(name))
    return folded(structure.tg263 if structure else name)


def structure(name: str) -> Structure:
    """Return the structure called ``name``, with TG-263 name and colour where it is known."""
    known = _KNOWN.get(folded(name))
    if known is None:
        return Structure(name, name)
    return Structure(name, known.tg263, known.synonyms, known.colour)


def names(labels: Labels) -> list[str]:
    """Return the names of ``labels``.

    Raises:
        NasosegError: If there is no list or no label in it, or two labels are two spellings of one structure.
    """
    if isinstance(labels, str):  # a sequence of letters, each of which would be a structure
        raise NasosegError(f"labels: found the text {labels!r}, expected a list of structure names: [{labels!r}]")
    result = [label if isinstance(label, str) else label.name for label in labels]
    if not result:
        raise NasosegError("labels: found an empty list, expected one structure name or more")
    twice = sorted({name for name in result if result.count(name) > 1})
    if twice:
        raise NasosegError(f"labels: {twice[0]!r} is listed twice: remove one")
    check_spellings((name, "labels") for name in result)
    return result


def check_spellings(named: Iterable[tuple[str, str]]) -> None:
    """Check that no structure is spelled in two ways.

    Args:
        named: Pairs of a structure name and the place where it was found.

    Raises:
        NasosegError: Naming both spellings and both places.
    """
    seen: dict[str, tuple[str, str]] = {}
    for name, place in named:
        first = seen.setdefault(identity(name), (name, place))
        if first[0] != name:
            raise NasosegError(
                f"{place}: structure {name!r} means the same as {first[0]!r} in {first[1]}: expected one spelling"
                f" of each structure. Rename one, or pass --rename '{name}={first[0]}'."
            )


def positions(wanted: Sequence[str], available: Sequence[str], *, where: str) -> list[int]:
    """Find every wanted structure among the available ones, by name or as a synonym of it.

    Args:
        wanted: Structure names, in the order of the result.
        available: Structure names to look in.
        where: What offers ``available``, for the error text.

    Raises:
        NasosegError: If one is missing; names the nearest available names.
    """
    index = {identity(name): i for i, name in enumerate(available)}
    found = []
    for name in wanted:
        position = index.get(identity(name))
        if position is None:
            raise NasosegError(f"labels: {where} has no structure {name!r}: {nearest(name, available)}")
        found.append(position)
    return found


_APART = r"[\s_\-.()]"  # what stands between words


def _side_patterns() -> list[tuple[re.Pattern[str], str]]:
    patterns = []
    for left, right in (("Left", "Right"), ("Lt", "Rt"), ("L", "R")):
        for here, there in ((left, right), (right, left)):
            # Capitalised, it may touch another word (LeftParotid, ParotidLt, ParotidL); a letter more carefully than a
            # word, so that Larynx, PTVL and ROI have no side. In one case throughout, it stands apart.
            touching = r"(?=[A-Z][a-z]|[^A-Za-z]|$)" if len(here) == 1 else r"(?![a-z])"
            patterns.append((re.compile(rf"(?<![A-Z]){here}{touching}"), there))
            for case in (str.lower, str.upper):
                apart = rf"(?:^|(?<={_APART})){case(here)}(?={_APART}|$)"
                patterns.append((re.compile(apart), case(there)))
    return patterns


_SIDE_PATTERNS = _side_patterns()


def mirrored(name: str) -> str:
    """Return the name of the structure on the other side, or the name itself where it has no side.

    ``Parotid_L`` gives ``Parotid_R``, ``LeftParotid`` gives ``RightParotid``, ``Larynx`` gives ``Larynx``. A spelling
    that does not show its side, of a structure known to have one, gives the other side's TG-263 name: ``leftparotid``
    gives ``Parotid_R``.
    """
    known = _KNOWN.get(folded(name))
    for spelling in (name, known.tg263) if known else (name,):
        for pattern, there in _SIDE_PATTERNS:
            if match := pattern.search(spelling):
                return spelling[: match.start()] + there + spelling[match.end() :]
    return name


def mirror_order(labels: Sequence[str]) -> list[int]:
    """Return, for every label, the position of its partner on the other side (its own where it has none).

    Raises:
        NasosegError: If a sided structure has no partner among ``labels``: mirroring would then teach a wrong side.
    """
    index = {identity(name): i for i, name in enumerate(labels)}
    order = []
    for i, name in enumerate(labels):
        other = mirrored(name)
        position = i if other == name else index.get(identity(other))
        if position is None:
            raise NasosegError(
                f"mirror: structure {name!r} has no partner {other!r} among the labels, so that mirroring would swap"
                " sides without a name for the other: turn mirroring off, or add the partner"
            )
        order.append(position)
    return order
