"""The contours of one structure, in LPS millimetres, to the slices of a CT: which go where, and what cannot."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nasoseg.volumes.contours import Contour, distinct, fill
from nasoseg.volumes.plane_stack import PlaneStack
from nasoseg.volumes.structure_set import PackedMask

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
"""Kinds of contour that enclose an area; the last is a common misspelling of the second."""

_SAME_MM = 0.01  # between two copies of a contour; a ring as thin as that means nothing
_LARGEST_SKEW = 0.25  # of the spacing, between the ends of one contour
_MOST_COMPARED = 40  # contours of one slice; speckle of more is no drawing, and the pairs are too many


@dataclass(frozen=True)
class Drawn:
    """Hold one contour as a file has it.

    Attributes:
        kind: Contour Geometric Type.
        points: Points (n, 3) in LPS millimetres; None where they cannot be read.
    """

    kind: str
    points: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class _Placed:
    position_mm: float
    pixels: Contour


def place(contours: Sequence[Drawn], stack: PlaneStack) -> tuple[PackedMask | None, list[str]]:
    """Fill the contours of one structure on the CT's volume.

    Returns:
        The mask, or None where no pixel's centre lies inside a contour; and remarks on what was left out or moved.
    """
    if not contours:
        return None, ["it has no contours"]
    odd: Counter[str] = Counter()
    placed = [found for contour in contours if (found := _placed(contour, stack, odd)) is not None]
    levels = _nearest_levels(placed, stack, odd)
    mask = np.zeros(stack.shape, bool)
    for plane, level in levels.items():
        kept = _checked(level, stack, odd)
        for slice_, shift in stack.slices(plane):
            mask[slice_] = fill([contour + shift for contour in kept], mask[slice_].shape)
    remarks = [f"{count} contour{'s' if count > 1 else ''} {what}" for what, count in odd.items()]
    if levels:
        gap = max(levels) - min(levels) + 1 - len(levels)
        if gap:
            remarks.append(f"{gap} slice{'s' if gap > 1 else ''} between its ends without a contour, left empty")
    packed = PackedMask(mask)
    if levels and not packed.voxels:
        remarks.append("no pixel's centre lies inside its contours")
    return (packed if packed.voxels else None), remarks


def _placed(contour: Drawn, stack: PlaneStack, odd: Counter[str]) -> _Placed | None:
    """Bring a contour into pixels, or count in ``odd`` why it cannot be placed."""
    reason = ""
    if contour.kind not in CLOSED:
        reason = f"of type {contour.kind}"
    elif contour.points is None:
        reason = "with unreadable coordinates"
    elif len(np.unique(contour.points, axis=0)) < 3:
        reason = "of fewer than three points"
    if reason or contour.points is None:
        odd[f"{reason} left out"] += 1
        return None
    positions, pixels = stack.position_mm(contour.points), stack.pixels(contour.points)
    position = float(np.median(positions))
    sides = np.array(stack.shape[1:])
    if np.ptp(positions) > _LARGEST_SKEW * stack.spacing_mm:
        reason = "not parallel to the slices"
    elif not stack.holds(position):
        low, high = stack.positions_mm[[0, -1]]
        reason = "where the CT lacks a slice" if low < position < high else "above or below the scan"
    elif (pixels.max(axis=0) < -0.5).any() or (pixels.min(axis=0) > sides - 0.5).any():
        reason = "beside the scan"
    if reason:
        odd[f"{reason} left out"] += 1
        return None
    if (pixels < -1).any() or (pixels > sides).any():
        odd["reaching beyond the image cut off there"] += 1
    return _Placed(position, pixels)


def _nearest_levels(contours: Sequence[_Placed], stack: PlaneStack, odd: Counter[str]) -> dict[int, list[Contour]]:
    """Gather the contours drawn on one level, and give every plane the level that is nearest to it."""
    levels: list[list[_Placed]] = []
    for contour in sorted(contours, key=lambda contour: contour.position_mm):
        if not levels or contour.position_mm - levels[-1][0].position_mm > stack.tolerance_mm:
            levels.append([])
        levels[-1].append(contour)
    chosen: dict[int, tuple[float, list[_Placed]]] = {}
    for level in levels:
        plane, away = stack.nearest(level[0].position_mm)
        nearer, farther = (away, level), chosen.get(plane)
        if farther is not None:  # two levels for one slice must not cancel out by the even-odd rule
            if farther[0] <= away:
                nearer, farther = farther, nearer
            odd["on a level between slices left out, because another is nearer"] += len(farther[1])
        chosen[plane] = nearer
    moved = {plane: away for plane, (away, _) in chosen.items() if away > stack.tolerance_mm}
    if moved:
        what = f"moved to the nearest slice, by up to {max(moved.values()):.2f} mm"
        odd[what] += sum(len(chosen[plane][1]) for plane in moved)
    return {plane: [contour.pixels for contour in level] for plane, (_, level) in chosen.items()}


def _checked(contours: list[Contour], stack: PlaneStack, odd: Counter[str]) -> list[Contour]:
    """Leave out contours that are there twice, and count them and those that cross."""
    kept = [contours[i] for i in distinct(contours, tolerance_px=_SAME_MM / stack.pixel_mm)]
    if len(kept) < len(contours):
        odd["stored twice counted once"] += len(contours) - len(kept)
    if 1 < len(kept) <= _MOST_COMPARED and _cross(kept, (stack.shape[1], stack.shape[2])):
        odd["crossing another: what both enclose counts as outside"] += 1
    return kept


def _cross(contours: Sequence[Contour], shape: tuple[int, int]) -> bool:
    """Tell whether two contours overlap without one lying in the other."""
    masks = [fill([contour], shape) for contour in contours]
    for one, other in itertools.combinations(masks, 2):
        both = one & other
        if both.any() and (one & ~other).any() and (other & ~one).any():
            return True
    return False
