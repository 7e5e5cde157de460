"""Distances between the surfaces of two masks, in millimetres: HD, HD95, ASSD and NSD.

The definitions are those of Nikolov et al. 2021 (JMIR 23(7), e26151) and of their library ``surface-distance``, with
which the values agree: every surface element of one mask has its area (``surface_elements.py``) and the distance to
the nearest element of the other. Averages and percentiles are weighted with the areas, so that they are over the
surface and do not depend on how finely it is sampled. Libraries that count voxels of the border instead differ from
this, and from each other, on the same masks.

Distances depend on the spacing alone, wherever the grid's axes point in the patient, as long as they are at right
angles. A sheared grid, as of a gantry that was tilted, has to be resampled first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from nasoseg.errors import NasosegError
from nasoseg.metrics.surface_elements import SurfaceElements, surface_elements

Spacing = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceDistances:
    """Hold the distance of every surface element of each of two masks to the other's surface.

    Where both masks are empty there is nothing to measure, and every value is NaN. Where one is, the distances to it
    are infinite: HD, HD95 and ASSD are infinite, NSD is 0.

    Attributes:
        first_to_second_mm: (n,), of the n elements of the first surface.
        second_to_first_mm: (m,), of the m elements of the second.
        first_areas_mm2: (n,), area of each element.
        second_areas_mm2: (m,).
    """

    first_to_second_mm: npt.NDArray[np.float64]
    second_to_first_mm: npt.NDArray[np.float64]
    first_areas_mm2: npt.NDArray[np.float64]
    second_areas_mm2: npt.NDArray[np.float64]

    @property
    def hd(self) -> float:
        """The Hausdorff distance in mm: the greatest of all distances."""
        return self.percentile(100)

    @property
    def hd95(self) -> float:
        """The distance in mm that 95 % of either surface do not exceed."""
        return self.percentile(95)

    @property
    def assd(self) -> float:
        """The average symmetric surface distance in mm: the mean over both surfaces together."""
        area = self._area()
        if not area:
            return np.nan
        moments = self.first_to_second_mm @ self.first_areas_mm2 + self.second_to_first_mm @ self.second_areas_mm2
        return float(moments / area)

    def percentile(self, percent: float) -> float:
        """Return the distance in mm that ``percent`` of the area of either surface do not exceed.

        It is taken on each surface by itself; the greater of the two counts.
        """
        sides = (
            (self.first_to_second_mm, self.first_areas_mm2),
            (self.second_to_first_mm, self.second_areas_mm2),
        )
        return max((_percentile(*side, percent) for side in sides if side[0].size), default=np.nan)

    def nsd(self, tolerance_mm: float) -> float:
        """Return the normalised surface Dice: the share of both surfaces, 0..1, that is near enough to the other.

        Args:
            tolerance_mm: Distance that still counts as right, 0 or more; see ``surface_tolerances.py``.

        Raises:
            NasosegError: If the tolerance is negative or not a number.
        """
        if not tolerance_mm >= 0:
            raise NasosegError(f"tolerance_mm: found {tolerance_mm}, expected 0 or more millimetres")
        area = self._area()
        if not area:
            return np.nan
        near_first = self.first_areas_mm2[self.first_to_second_mm <= tolerance_mm].sum()
        near_second = self.second_areas_mm2[self.second_to_first_mm <= tolerance_mm].sum()
        return float((near_first + near_second) / area)

    def _area(self) -> float:
        return float(self.first_areas_mm2.sum() + self.second_areas_mm2.sum())


def surface_distances(
    first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], *, spacing_mm: Spacing
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks on one grid.

    A mask that reaches the border of the array ends there, with a surface. Time and memory grow with the area of the
    surfaces; of the volume, every voxel is read once.

    Args:
        first: Three-dimensional bool.
        second: The same shape.
        spacing_mm: (3,), distance of neighbouring voxel centres along each axis of the masks.

    Raises:
        ValueError: If shapes or types disagree.
        NasosegError: If the spacing is not three positive numbers.
    """
    for name, mask in (("first", first), ("second", second)):
        if mask.ndim != 3 or mask.dtype != np.bool_ or mask.shape != first.shape:
            raise ValueError(
                f"{name} is {mask.dtype} {mask.shape}, expected bool in three dimensions, both masks of one shape"
            )
    spacing = np.asarray(spacing_mm, np.float64)
    if spacing.shape != (3,) or not np.all((spacing > 0) & np.isfinite(spacing)):
        raise NasosegError(
            f"spacing_mm: found {spacing.tolist()}, expected three positive numbers: millimetres along each axis"
        )
    one, other = (surface_elements(mask, spacing_mm=spacing) for mask in (first, second))
    return SurfaceDistances(
        _nearest_mm(one, other, spacing), _nearest_mm(other, one, spacing), one.areas_mm2, other.areas_mm2
    )


def _nearest_mm(
    elements: SurfaceElements, others: SurfaceElements, spacing_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Find the distance of each element to the nearest of the others; infinite if there is none."""
    if not len(others.corners):
        return np.full(len(elements.corners), np.inf)
    distances = np.zeros(len(elements.corners))
    apart = _unshared(elements.corners, others.corners)
    if apart.any():
        # Half of the elements of a good prediction coincide with one of the truth: no search is needed for them.
        corners = elements.corners[apart]
        # A balanced tree takes longer to build than it saves: surfaces on a grid are evenly spread.
        tree = cKDTree(others.corners * spacing_mm, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(corners * spacing_mm)
        # From whole voxels apart, not from the tree's differences of rounded millimetres: a distance that equals a
        # tolerance then counts as near on every part of the grid.
        offsets = (corners - others.corners[nearest]) * spacing_mm
        distances[apart] = np.sqrt((offsets**2).sum(axis=1))
    return distances


def _unshared(corners: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which corners are not among the others; both in ascending order."""
    sides = np.maximum(corners.max(axis=0, initial=0), others.max(axis=0)) + 1
    places, known = (np.ravel_multi_index(tuple(rows.T), tuple(sides)) for rows in (corners, others))
    found = np.searchsorted(known, places)
    return np.asarray(known[np.minimum(found, len(known) - 1)] != places)


def _percentile(distances: npt.NDArray[np.float64], areas: npt.NDArray[np.float64], percent: float) -> float:
    order = np.argsort(distances)
    share = np.cumsum(areas[order]) / areas.sum()
    place = int(np.searchsorted(share, percent / 100))
    return float(distances[order[min(place, len(order) - 1)]])  # rounding may leave the last share below 1
