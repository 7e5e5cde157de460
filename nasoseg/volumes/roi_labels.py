"""How a structure is labelled in a DICOM object: name, type and colour."""

import colorsys
import re
from collections.abc import Iterable, Mapping

from nasoseg.errors import NasosegError
from nasoseg.labels import Structure, identity, structure
from nasoseg.volumes.patient_study import short_text
from nasoseg.volumes.structure_set import Roi

LONGEST_NAME = 64
"""Characters of a ROI's name or a segment's label: VR LO."""

_TYPES = (
    *((kind, re.compile(kind.lower())) for kind in ("PTV", "CTV", "GTV")),
    ("EXTERNAL", re.compile(r"(external|body)(contour|outline|surface)?\d*$")),
    ("MARKER", re.compile(r"localization\d*$")),
    ("SUPPORT", re.compile("couch")),
    ("BOLUS", re.compile("bolus")),
)
"""RT ROI Interpreted Types (PS3.3 C.8.8.8) by how a folded TG-263 name begins, or what all of it is where organs begin
alike (External_Carotid_L, BodyOfMandible); anything else is an organ."""

_GREY = Structure("", "").colour
_GOLDEN = 0.618034  # of the colour circle: the hues of any few neighbours are far apart


def roi_labels(names: Iterable[str], *, rois: Mapping[str, Roi] | None = None) -> tuple[dict[str, Roi], list[str]]:
    """Label structures for a DICOM object, numbered from 1.

    A structure in ``rois`` gets its name, type and colour from there. Any other is named as TG-263 does where the
    preset labels know it, and as given otherwise. Names are cut to 64 characters, made printable and kept apart.

    Args:
        names: Names of the structures.
        rois: Labels to use for some of them, such as ``Structures.rois``.

    Returns:
        A label for every name; and remarks on names that had to be changed beyond that.

    Raises:
        NasosegError: If a name is empty, or has no printable character.
    """
    labels: dict[str, Roi] = {}
    remarks, taken = [], set()
    for number, name in enumerate(names, start=1):
        given = (rois or {}).get(name)
        known = structure(name)
        full = given.name if given else known.tg263
        if full != name and not given and full in taken:
            full = name  # a second spelling of one structure
        label = short_text(full, LONGEST_NAME)
        if not label.strip("_ "):
            raise NasosegError(f"structure {name!r}: expected a name with printable characters: rename it")
        copy = 1
        while label in taken:
            copy += 1
            label = f"{short_text(full, LONGEST_NAME - 4)} ({copy})"
        taken.add(label)
        if label != full:
            remarks.append(f"structure {name!r} is written as {label!r}")
        colour = given.colour if given and given.colour else known.colour
        if colour == _GREY and not (given and given.colour):
            colour = _hue(number)
        labels[name] = Roi(label, number, given.interpreted_type if given else interpreted_type(name), colour)
    return labels, remarks


def interpreted_type(name: str) -> str:
    """Return the RT ROI Interpreted Type of a structure, by its TG-263 name: ``PTV`` for PTV_7000, else ``ORGAN``."""
    return next((kind for kind, pattern in _TYPES if pattern.match(identity(name))), "ORGAN")


def _hue(number: int) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.75, 0.95))
    return red, green, blue
