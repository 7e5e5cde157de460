"""The original planes of a CT beside its volume: where contours in LPS millimetres belong, and back."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nasoseg.volumes.contours import Contour
from nasoseg.volumes.ct_series import CtSeries

_ON_A_PLANE = 0.05  # of the spacing, and no more than 0.1 mm: planning systems round coordinates to 0.01 or 0.1 mm
_SNAP_DECIMALS = 6  # of a pixel: a corner drawn on a pixel's centre stays there despite the rounding of affines
_MARGIN = 2  # pixels around what is resampled


class PlaneStack:
    """Place points on the planes of a CT and in the pixels of its volume.

    The volume is straight; the planes may be unevenly spaced, or shifted against each other by a gantry's tilt.

    Attributes:
        shape: Shape of the CT's volume (slices, rows, columns).
        positions_mm: Position of every plane along the normal, rising.
        spacing_mm: Median distance of neighbouring planes; the volume's where there is one plane.
        tolerance_mm: What lies nearer than this to a plane lies on it.
        pixel_mm: The smaller side of a pixel.
    """

    def __init__(self, ct: CtSeries) -> None:
        geometry = ct.volume.geometry
        self.shape = geometry.shape
        self._index_from_lps = np.linalg.inv(geometry.affine_lps)
        slice_step, row_step, column_step = geometry.affine_lps[:3, :3].T
        normal = np.cross(column_step, row_step)
        self._normal = normal / np.linalg.norm(normal) * np.sign(normal @ slice_step)
        self._origins = np.array([plane.affine_lps[:3, 2] for plane in ct.planes])
        self.positions_mm = self._origins @ self._normal
        gaps = np.diff(self.positions_mm)
        self.spacing_mm = float(np.median(gaps)) if gaps.size else float(geometry.spacing_mm[0])
        self.tolerance_mm = min(0.1, _ON_A_PLANE * self.spacing_mm)
        self.pixel_mm = float(geometry.spacing_mm[1:].min())
        levels = (geometry.affine_lps[:3, 3] + np.arange(self.shape[0])[:, None] * slice_step) @ self._normal
        self._levels_mm = self.positions_mm if ct.straight else levels
        self._plane_of_slice = np.abs(self._levels_mm[:, None] - self.positions_mm).argmin(axis=1)

    def position_mm(self, points_lps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the positions along the normal, (n,), of points (n, 3)."""
        return np.asarray(points_lps @ self._normal)

    def pixels(self, points_lps: npt.NDArray[np.float64]) -> Contour:
        """Map points (n, 3) in LPS millimetres to (row, column) of the volume's pixels, (n, 2)."""
        index = points_lps @ self._index_from_lps[1:3, :3].T + self._index_from_lps[1:3, 3]
        return np.asarray(np.round(index, _SNAP_DECIMALS))

    def nearest(self, position_mm: float) -> tuple[int, float]:
        """Return the plane nearest to a position along the normal, and how far it is in millimetres."""
        away = np.abs(self.positions_mm - position_mm)
        plane = int(away.argmin())
        return plane, float(away[plane])

    def holds(self, position_mm: float) -> bool:
        """Tell whether a position lies within half a spacing of some plane."""
        return self.nearest(position_mm)[1] <= self.spacing_mm / 2 + self.tolerance_mm

    def lies_on(self, points_lps: npt.NDArray[np.float64]) -> int | None:
        """Return the plane that all points (n, 3) lie on; None where there is none."""
        positions = self.position_mm(points_lps)
        plane, _ = self.nearest(float(positions.mean()))
        return plane if np.abs(positions - self.positions_mm[plane]).max() <= self.tolerance_mm else None

    def pixels_from(self, lps_from_pixel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Turn a 3 x 3 map of (row, column, 1) to LPS millimetres into a 2 x 3 map to the volume's (row, column)."""
        return np.asarray(self._index_from_lps[1:3] @ np.vstack([lps_from_pixel, [0, 0, 1]]))

    def slices(self, plane: int) -> list[tuple[int, Contour]]:
        """Find the volume's slices that show a plane: its own, or in a resampled volume those nearest to it.

        Returns:
            Slice numbers, each with the shift (row, column) that a contour of the plane needs there: in a tilted scan
            the anatomy moves sideways from slice to slice.
        """
        return [
            (slice_, self._shift(plane, slice_)) for slice_ in np.flatnonzero(self._plane_of_slice == plane).tolist()
        ]

    def neighbours(self, plane: int) -> list[tuple[int, float, Contour]]:
        """Find the two slices of a resampled volume between which a plane lies.

        Returns:
            For each: its number, its weight for linear interpolation, and the shift (row, column) from plane to slice.
        """
        place = float(np.interp(self.positions_mm[plane], self._levels_mm, np.arange(self.shape[0])))
        below = min(int(place), max(0, self.shape[0] - 2))
        pair = ((below, 1 - (place - below)), (below + 1, place - below))
        return [(slice_, weight, self._shift(plane, slice_)) for slice_, weight in pair if weight > 0]

    def _shift(self, plane: int, slice_: int) -> Contour:
        """Return how far in pixels the line through like pixels of the planes moves from a plane to a slice."""
        level = self._levels_mm[slice_]
        origin = np.array([np.interp(level, self.positions_mm, values) for values in self._origins.T])
        sideways = origin - self._origins[plane] - (level - self.positions_mm[plane]) * self._normal
        return np.asarray(np.round(self._index_from_lps[1:3, :3] @ sideways, _SNAP_DECIMALS))


def on_planes(mask: npt.NDArray[np.bool_], ct: CtSeries) -> npt.NDArray[np.bool_]:
    """Bring a mask from the CT's volume to its original planes (plane, row, column).

    Where the volume is straight they are the same, and the mask itself is returned. Otherwise it is interpolated
    linearly at the planes' pixels, along the line through their like pixels, and inside from one half on.
    """
    if ct.straight:
        return mask
    rows, columns = ct.planes[0].rows, ct.planes[0].columns
    result = np.zeros((len(ct.planes), rows, columns), bool)
    if not mask.any():
        return result
    stack = PlaneStack(ct)
    rows_used, columns_used = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    ends = np.array([[rows_used[0], columns_used[0]], [rows_used[-1], columns_used[-1]]])
    for number, (plane, into) in enumerate(zip(ct.planes, result, strict=True)):
        neighbours = [found for found in stack.neighbours(number) if mask[found[0]].any()]
        if not neighbours:
            continue
        index = stack.pixels_from(plane.affine_lps[:3])
        reach = (ends - index[:, 2]) @ np.linalg.inv(index[:, :2]).T
        start = np.clip(np.floor(reach.min(axis=0)) - _MARGIN, 0, into.shape).astype(int)
        stop = np.clip(np.ceil(reach.max(axis=0)) + _MARGIN, 0, into.shape).astype(int)
        if (stop <= start).any():
            continue
        weights = np.zeros(tuple(stop - start))
        for slice_, weight, shift in neighbours:
            weights += weight * ndimage.affine_transform(
                mask[slice_].astype(np.float64),
                index[:, :2],
                offset=index @ [*start, 1] + shift,
                output_shape=weights.shape,
                order=1,
            )
        into[start[0] : stop[0], start[1] : stop[1]] = weights >= 0.5
    return result
