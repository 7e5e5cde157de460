"""What the viewer shows: one CT, and the masks of one or several origins, all on the CT's grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nasoseg.volumes.structure_set import PackedMask
from nasoseg.volumes.volume import Volume

OWN_MASKS = "contours of the study"
"""What the masks are called that lie beside the CT: whether they are the truth, no file says."""


@dataclass(frozen=True)
class MaskSet:
    """Hold the masks of one origin.

    Attributes:
        name: What the page calls it.
        masks: (z, h, w) in axial order by structure; one without a voxel says that nothing was found.
    """

    name: str
    masks: Mapping[str, PackedMask] = field(repr=False)


@dataclass(frozen=True)
class ShownStudy:
    """Hold one study as it is shown. Nothing in it but the remarks, and the key of a store, may name the patient.

    Attributes:
        title: The heading of the page.
        ct: HU (z, h, w) in axial order: slices to Superior, rows to Posterior, columns to Left.
        sets: The masks, in the order in which they are listed.
        remarks: What was odd about the files; for the terminal alone, as they may name files.
    """

    title: str
    ct: Volume = field(repr=False)
    sets: tuple[MaskSet, ...]
    remarks: tuple[str, ...] = field(default=(), repr=False)


def set_name(name: str, number: int) -> str:
    """Name the ``number``-th set of one kind, from 1: the first has no number."""
    return name if number == 1 else f"{name} {number}"
