"""Which distance from the truth still counts as right, per structure: the tolerances of NSD.

A tolerance is meant to be what experts disagree by. For the organs that they measured, these are the values of Nikolov
et al. 2021 (JMIR 23(7), e26151, supplement): the 95th percentile of the distances between two experts' contours of the
same scan, quoted from memory and not checked against it. The others are ours, and say so. A challenge may have fixed
other ones (1 mm for nearly all organs in SegRap 2023): an NSD can only be compared with one at the same tolerance on a
like grid, so choose the tolerances for such a comparison.

A tolerance below the spacing is a hard one: a contour that is one pixel off is then wrong all along. OpenKBP's planes
have pixels of 3.75 to 5.08 mm, so that 1 mm of the mandible means: the same pixel or none.
"""

import math
from collections.abc import Mapping, Sequence

from nasoseg.errors import NasosegError, nearest
from nasoseg.labels import folded, identity

TOLERANCES_MM: Mapping[str, float] = {
    # Nikolov et al. 2021
    "Bone_Mandible": 1.01,
    "Brain": 1.01,
    "Brainstem": 2.50,
    "Cochlea": 1.25,
    "Eye": 1.65,
    "Glnd_Lacrimal": 2.50,
    "Glnd_Submand": 2.02,
    "Lens": 0.98,
    "Lung": 2.42,
    "OpticNrv": 2.50,
    "Parotid": 2.85,
    "SpinalCanal": 1.17,
    "SpinalCord": 2.93,
    # Ours
    "Larynx": 2.0,
    "OpticChiasm": 2.50,  # as the nerves that it joins
}
"""Tolerances in mm under TG-263 names without a side; they hold for ``_L`` and ``_R`` too."""

TARGET_TOLERANCE_MM = 3.0
"""Of target volumes (GTV, CTV, PTV, ITV). Ours: their borders are drawn by rule, where the image shows none."""

DEFAULT_TOLERANCE_MM = 2.0
"""Of every other structure. Ours."""

_TARGETS = ("gtv", "ctv", "ptv", "itv")
_KNOWN = {folded(name + side): mm for name, mm in TOLERANCES_MM.items() for side in ("", "_L", "_R")}


def tolerances_mm(labels: Sequence[str], chosen_mm: Mapping[str, float] | None = None) -> list[float]:
    """Return the tolerance of every structure.

    Args:
        labels: Names of the structures, in any spelling that ``nasoseg.labels`` knows.
        chosen_mm: Tolerances that go before the defaults, by name or synonym of a label.

    Raises:
        NasosegError: If a chosen one is for none of the labels, or is not a finite number of 0 or more.
    """
    chosen = {}
    known = {identity(label) for label in labels}
    for name, mm in (chosen_mm or {}).items():
        if identity(name) not in known:
            raise NasosegError(f"tolerances_mm: {name!r} is none of the labels: {nearest(name, labels)}")
        if not (mm >= 0 and math.isfinite(mm)):
            raise NasosegError(f"tolerances_mm: found {mm} for {name!r}, expected 0 or more millimetres")
        chosen[identity(name)] = float(mm)
    return [chosen.get(identity(label), _default_mm(identity(label))) for label in labels]


def _default_mm(identity_: str) -> float:
    other = TARGET_TOLERANCE_MM if identity_.startswith(_TARGETS) else DEFAULT_TOLERANCE_MM
    return _KNOWN.get(identity_, other)
