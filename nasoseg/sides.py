"""Left and right: in the names of structures, and in the patient."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

from nasoseg import labels

Side = Literal["L", "R"]

# English, German and Dutch, French, Italian and Latin, Spanish. Initials mean a side here: French D is right.
_BY_SIDE: tuple[tuple[Side, tuple[str, ...]], ...] = (
    ("L", (
        "l", "lt", "left", "li", "links", "linke", "linker", "linkes", "g", "gche", "gauche", "sx", "sin", "sinistra",
        "sinistro", "izq", "izda", "izquierda", "izquierdo",
    )),
    ("R", (
        "r", "rt", "right", "re", "rechts", "rechte", "rechter", "rechtes", "d", "drt", "droit", "droite", "dx", "dex",
        "destra", "destro", "der", "dcha", "derecha", "derecho",
    )),
)  # fmt: skip
_WORDS: dict[str, Side] = {word: side for side, words in _BY_SIDE for word in words}
_DOUBTFUL = frozenset({"li", "re", "g", "d", "der", "sin", "dex"})  # words and abbreviations of other things too
_GLUED: tuple[tuple[str, Side], ...] = (
    ("left", "L"), ("right", "R"), ("links", "L"), ("rechts", "R"), ("lt", "L"), ("rt", "R"), ("li", "L"), ("re", "R"),
    ("l", "L"), ("r", "R"), ("左", "L"), ("右", "R"),
)  # fmt: skip
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o"})  # which Unicode does not take apart
_CASE_CHANGES = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN_WORDS = re.compile(r"[\s_\-.,()]+")
_MIDLINE = frozenset(
    labels.identity(name)
    for name in (
        "Brain", "Brainstem", "SpinalCord", "OpticChiasm", "Pituitary", "Bone_Mandible", "Cavity_Oral", "Larynx",
        "Larynx_SG", "Glottis", "Musc_Constrict", "Glnd_Thyroid", "Trachea", "Body", "External",
    )
)  # fmt: skip
_OTHER: dict[Side, Side] = {"L": "R", "R": "L"}
_WORD = {"L": "left", "R": "right"}
_TOLERANCE_MM = 5.0  # an optic nerve's centroid keeps 10 to 20 mm; contours and a turned head cost a few


def plain(name: str) -> str:
    """Fold a name as ``labels.folded``, and drop accents, and dots and asterisks at its ends.

    ``Nerf optique D.`` and ``NERF_OPTIQUE_D``, ``Œil`` and ``oeil`` fold alike.
    """
    name = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return labels.folded(name.strip(" .*")).translate(_LETTERS)


def sided_forms(name: str) -> list[tuple[Side, str]]:
    """Return every reading of a name as a side and the folded rest: ``Parotis li.`` gives ``("L", "parotis")``.

    A side is a word of its own, anywhere; or it is glued to the name's beginning or end (``parotidl``), which gives
    readings that are wrong, so that the rest must be a known name. A name with both sides has no reading.
    """
    sides = sides_named(name)
    if sides:
        rest = "".join(word for word in _words(name) if word not in _WORDS)
        return [(side, rest) for side in sides if rest and len(sides) == 1]
    folded = plain(name)
    readings = [(side, folded.removeprefix(word)) for word, side in _GLUED if folded.startswith(word)]
    readings += [(side, folded.removesuffix(word)) for word, side in _GLUED if folded.endswith(word)]
    return [(side, rest) for side, rest in readings if rest]


def sides_named(name: str) -> set[Side]:
    """Return the sides that a name has a word of; both for ``Parotid_L_re``."""
    return {_WORDS[word] for word in _words(name) if word in _WORDS}


def laterality_conflicts(
    centroids_lps: Mapping[str, Sequence[float]],
    midline_x_mm: float | None = None,
    *,
    tolerance_mm: float = _TOLERANCE_MM,
) -> list[str]:
    """Report structures that are named for one side and lie on the other.

    LPS coordinates are the patient's own, whatever the position on the couch: x rises to the patient's left, so that a
    left structure lies at x > midline. Structures without a side in their name, or without a finite centroid (an empty
    mask), are passed over.

    Args:
        centroids_lps: Centroid, (x, y, z) in LPS millimetres, by the structure's name.
        midline_x_mm: x of the sagittal midline; None: ``estimated_midline_x_mm``, and no judgement where there is none.
        tolerance_mm: Reported only beyond this distance on the wrong side.

    Returns:
        A line for every structure on the wrong side; one line for a pair that is swapped.
    """
    x_mm = _finite_x(centroids_lps)
    midline = estimated_midline_x_mm(centroids_lps) if midline_x_mm is None else midline_x_mm
    if midline is None:
        return []
    sides = _sides(list(x_mm))
    offsets = {name: x_mm[name] - midline for name in sides}  # to the patient's left
    wrong = {n: s for n, (s, _) in sides.items() if (offsets[n] if s == "R" else -offsets[n]) > tolerance_mm}
    lines, told = [], set()
    for name, side in wrong.items():
        partner = _partner(sides, name)
        if name in told:
            continue
        place = f"{abs(offsets[name]):.0f} mm to the patient's {_WORD[_OTHER[side]]} of the midline"
        if partner in wrong:
            told.add(partner)
            place += f", {partner} {abs(offsets[partner]):.0f} mm to the {_WORD[side]}"
            lines.append(
                f"{name} and {partner} look swapped: {name} lies {place}: check the names and the image's sides"
            )
        else:
            lines.append(f"{name} lies {place}, expected on the {_WORD[side]}: check the name and the contour")
    return lines


def estimated_midline_x_mm(centroids_lps: Mapping[str, Sequence[float]]) -> float | None:
    """Estimate the sagittal midline, in LPS millimetres.

    Returns:
        The median over the midpoints of pairs, which a swap does not move, and the centroids of structures that lie on
        the midline (cord, brainstem, larynx, body ...). None without any.
    """
    x_mm = _finite_x(centroids_lps)
    sides = _sides(list(x_mm))
    found = [x for name, x in x_mm.items() if labels.identity(name) in _MIDLINE]
    for name, (side, _) in sides.items():
        partner = _partner(sides, name)
        if side == "L" and partner:
            found.append((x_mm[name] + x_mm[partner]) / 2)
    return median(found) if found else None


def _words(name: str) -> list[str]:
    parts = _BETWEEN_WORDS.split(_CASE_CHANGES.sub(" ", unicodedata.normalize("NFC", name)))
    return [word for word in map(plain, parts) if word]


def _finite_x(centroids_lps: Mapping[str, Sequence[float]]) -> dict[str, float]:
    x_mm = {name: float(centroid[0]) for name, centroid in centroids_lps.items()}
    return {name: x for name, x in x_mm.items() if abs(x) < float("inf")}  # a NaN is not smaller


def _sides(names: Sequence[str]) -> dict[str, tuple[Side, str]]:
    """Return side and folded rest of every name that surely has a side.

    A doubtful word (``re``) counts where a structure of the same name on the other side is there, too.
    """
    read: dict[str, tuple[Side, str]] = {}
    sure: set[str] = set()
    for name in names:
        for spelling in (labels.structure(name).tg263, name):  # the first shows a side that ``leftparotid`` hides
            words = _WORDS.keys() & set(_words(spelling))
            if words and (forms := sided_forms(spelling)):
                read[name] = forms[0]
                if words - _DOUBTFUL:
                    sure.add(name)
                break
    every = set(read.values())
    return {n: (side, rest) for n, (side, rest) in read.items() if n in sure or (_OTHER[side], rest) in every}


def _partner(sides: Mapping[str, tuple[Side, str]], name: str) -> str:
    side, rest = sides[name]
    return next((other for other, reading in sides.items() if reading == (_OTHER[side], rest)), "")
