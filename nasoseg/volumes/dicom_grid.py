"""How the slices of a series lie to each other: in one straight stack or not, and what is wrong if not.

Only ImagePositionPatient and ImageOrientationPatient count. File names, InstanceNumber, SliceLocation, SliceThickness
and PatientPosition do not: they may be wrong, empty or of another meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_slices import Slice

ROUNDING_MM = 0.06
"""A slice may lie this far off its place in the stack: files give positions to 0.1 mm at the coarsest (0.05 off each),
and it is a tenth of the finest pixel used in the clinic. Of stacks finer than 0.6 mm it is a tenth of the spacing."""

SAME_PLACE_MM = 0.01
"""Slices no farther apart along the normal lie at one place: it is written alike in both, and no scanner steps less."""

_STRAIGHT = 1e-3  # radians; cosines rounded to three decimals tilt a straight stack by so much
_OFTEN = 0.1  # a distance that a tenth of the slices have, and two at least, is one of the scan's own
_MOST_NAMED = 8


@dataclass(frozen=True)
class Stack:
    """Describe how sorted slices lie.

    Attributes:
        positions_mm: Of every slice along the normal, rising, shape (z,).
        normal: Unit vector, LPS.
        origin: LPS millimetres of the first pixel of the first slice on the straight line that fits all slices best.
        step: LPS millimetres from slice to slice on that line.
        spacing_mm: Distance along the normal; of an uneven stack the smallest that several slices have.
        uneven: Whether distances differ by more than rounding.
        drift: Sideways millimetres for every millimetre along the normal, perpendicular to it; 0 without a tilt.
    """

    positions_mm: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    step: npt.NDArray[np.float64]
    spacing_mm: float
    uneven: bool
    drift: npt.NDArray[np.float64]

    @property
    def tilt_degrees(self) -> float:
        """Angle between the normal and the line through the slices; 0 where it is no more than rounding."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.drift))))

    @property
    def straight(self) -> bool:
        """Tell whether the slices are the planes of one uniform, unsheared grid."""
        return not self.uneven and not self.drift.any()

    @property
    def finding(self) -> str:
        """Say what is not straight; empty if nothing is."""
        found = []
        if self.drift.any():
            found.append(f"a gantry tilt of {self.tilt_degrees:.1f} degrees")
        if self.uneven:
            gaps = np.diff(self.positions_mm)
            found.append(
                f"uneven steps of {gaps.min():.2f} to {gaps.max():.2f} mm along the normal"
                f" (in general {self.spacing_mm:.2f} mm)"
            )
        return " and ".join(found)


def sort_slices(slices: Sequence[Slice]) -> list[Slice]:
    """Sort slices by their position along the normal, rising."""
    normal = slices[0].normal
    return sorted(slices, key=lambda one: (float(one.origin @ normal), one.path, one.plane.frame or 0))


def at_one_place(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Gather sorted slices that lie at one place; without duplicates every list has one slice."""
    normal = slices[0].normal
    places: list[list[Slice]] = [[slices[0]]]
    for one in slices[1:]:
        if float((one.origin - places[-1][0].origin) @ normal) <= SAME_PLACE_MM:
            places[-1].append(one)
        else:
            places.append([one])
    return places


def stack(slices: Sequence[Slice]) -> Stack:
    """Find how sorted slices, each at another place, lie to each other.

    Raises:
        NasosegError: If slices are missing, or shift sideways from one to the next other than by a tilt: neither can
            be mended by resampling without inventing anatomy.
    """
    normal = slices[0].normal
    origins = np.array([one.origin for one in slices])
    positions = origins @ normal
    gaps = np.diff(positions)
    rounding = min(ROUNDING_MM, float(np.median(gaps)) / 10)
    steps = np.arange(len(slices)) - (len(slices) - 1) / 2
    step = steps @ origins / (steps @ steps)  # least squares
    origin = origins.mean(axis=0) + steps[0] * step
    along = positions - positions.mean()
    uneven = bool(np.abs(along - steps * (step @ normal)).max() > rounding)
    common = _common(gaps)
    if uneven:
        _refuse_missing(slices, positions, common)
    sideways = origins - positions[:, None] * normal
    sideways -= sideways.mean(axis=0)
    drift = along @ sideways / (along @ along)
    off = np.linalg.norm(sideways - along[:, None] * drift, axis=1)
    if off.max() > 2 * rounding:
        raise NasosegError(
            f"{slices[int(off.argmax())].path}: lies {off.max():.2f} mm beside the line through the other slices,"
            " expected slices stacked in one direction: the series mixes fields of view: export one of them"
        )
    extent = float(positions[-1] - positions[0])
    if np.linalg.norm(drift) * extent <= max(2 * rounding, _STRAIGHT * extent):
        drift = np.zeros(3)
    return Stack(positions, normal, origin, step, common, uneven, drift)


def _common(gaps: npt.NDArray[np.float64]) -> float:
    """Return the smallest distance that is no accident: that several have; else the smallest of all."""
    several = max(min(2, len(gaps) - 1), _OFTEN * len(gaps))
    for gap in np.sort(gaps):
        near = gaps[np.abs(gaps - gap) <= min(2 * ROUNDING_MM, gap / 10)]
        if len(near) >= several:
            return float(np.median(near))
    return float(gaps.min())


def _refuse_missing(slices: Sequence[Slice], positions: npt.NDArray[np.float64], common: float) -> None:
    """Refuse gaps that are two, three or more times the common distance, unless the slices there are thicker too."""
    gaps = np.diff(positions)
    times = np.rint(gaps / common)
    multiple = (times >= 2) & (np.abs(gaps - times * common) <= min(max(2 * ROUNDING_MM, common / 20), common / 5))
    thickness = np.array([one.thickness_mm for one in slices])
    here = np.fmax(thickness[:-1], thickness[1:])
    typical = np.median(here[gaps < 1.5 * common])
    # A scan may change from 2.5 mm slices to 5 mm ones: those touch, nothing is missing between them.
    touching = (here >= 0.9 * gaps) & (here > 1.5 * typical)
    lost = np.flatnonzero(multiple & ~touching)
    if not lost.size:
        return
    # Not all of them in a list: a damaged position can lie any number of millimetres away.
    places = (f"{positions[gap] + common * k:.2f}" for gap in lost for k in range(1, round(float(times[gap]))))
    first, count = int(lost[0]), float((times[lost] - 1).sum())
    shown = ", ".join(islice(places, _MOST_NAMED)) + (", ..." if count > _MOST_NAMED else "")
    raise NasosegError(
        f"{slices[0].path.parent}: {count:g} slices are missing, at {shown} mm along the normal: found a gap of"
        f" {gaps[first]:.2f} mm between {slices[first].where} (at {positions[first]:.2f} mm) and"
        f" {slices[first + 1].where} (at {positions[first + 1]:.2f} mm), expected {common:.2f} mm: export the whole"
        " series; missing slices are not invented, not by resampling either"
    )
