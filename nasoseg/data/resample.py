"""In-plane resampling: from the axial grid of a scan to the stored grid, and predictions back to the file's grid.

Along rows and along columns alike, pixel o of the new grid has its centre at ``o * step + shift`` in pixels of the
old one, where whole numbers are pixel centres. Slices are never resampled.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError
from nasoseg.volumes.volume import LARGEST_SIDE, Geometry, from_axial

if TYPE_CHECKING:  # half a second, once a process, and most stores are not resampled
    from scipy import sparse

AIR_HU = -1024
"""What lies outside the scan."""

_INTEGER = 1e-4  # pixels; affines are float32 in NIfTI, 1e-7 of a side of 512


@dataclass(frozen=True)
class Axis:
    """Lay a new line of pixels over an old one.

    Attributes:
        old: Number of old pixels.
        new: Number of new pixels.
        step: Distance of new pixel centres, in old pixels.
        shift: Place of the first new pixel's centre, in old pixels.
    """

    old: int
    new: int
    step: float
    shift: float

    @property
    def is_copy(self) -> bool:
        """Whether every new pixel is an old one or lies outside: cropping and padding, no interpolation."""
        return abs(self.step - 1) * max(self.old, self.new) < _INTEGER and abs(self.shift % 1.0 - 0.5) > 0.5 - _INTEGER

    def inside(self) -> npt.NDArray[np.bool_]:
        """Tell which new pixels have their centre on the old line, edges of pixels included, shape (new,)."""
        at = np.arange(self.new) * self.step + self.shift
        return np.asarray((at >= -0.5 - _INTEGER) & (at <= self.old - 0.5 + _INTEGER))

    def weights(self, *, widened: bool) -> "sparse.csr_matrix":
        """Return the (new, old) weights of linear interpolation.

        Rows add up to 1 where the new pixel lies inside, and are 0 outside.

        Args:
            widened: Widen the triangle to the step where the new pixels are larger: it averages over what a new pixel
                covers, so that nothing aliases.
        """
        from scipy import sparse

        if self.is_copy:
            source = np.arange(self.new) + round(self.shift)
            kept = np.flatnonzero((source >= 0) & (source < self.old))
            ones = np.ones(len(kept), np.float32)
            return sparse.csr_matrix((ones, (kept, source[kept])), shape=(self.new, self.old))
        reach = max(1.0, self.step) if widened else 1.0
        at = np.arange(self.new) * self.step + self.shift
        first = np.ceil(at - reach).astype(np.int64)
        columns = first[:, None] + np.arange(int(2 * reach) + 1)
        values = np.maximum(0.0, 1.0 - np.abs(columns - at[:, None]) / reach)
        values[(columns < 0) | (columns >= self.old)] = 0.0
        values[~self.inside()] = 0.0
        total = values.sum(axis=1, keepdims=True)
        values = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
        rows, taps = np.nonzero(values)
        return sparse.csr_matrix(
            (values[rows, taps].astype(np.float32), (rows, columns[rows, taps])), shape=(self.new, self.old)
        )


def stored_grid(axial: Geometry, *, pixel_mm: float | None = None, size: int | None = None) -> Geometry:
    """Lay out the grid to store: the same slices, with other pixels about the same centre.

    Args:
        axial: The scan's grid in axial order.
        pixel_mm: Side of a square pixel; None keeps the scan's pixels, or what ``size`` makes of them.
        size: Rows and columns; with ``pixel_mm`` the plane is cropped or padded about its centre, alone the same
            field of view gets ``size`` x ``size`` pixels.

    Raises:
        NasosegError: If the plane would have no pixel, or too many.
    """
    if pixel_mm is None and size is None:
        return axial
    shape, affine = list(axial.shape), axial.affine_lps.copy()
    for axis in (1, 2):
        old, spacing = axial.shape[axis], float(axial.spacing_mm[axis])
        step = size_step(old, size) if pixel_mm is None else pixel_mm / spacing
        new = size if size is not None else max(1, round(old / step))
        if new > LARGEST_SIDE:
            raise NasosegError(
                f"--pixel-mm {pixel_mm:g} makes {new} pixels of {old} pixels of {spacing:.3f} mm, expected at most"
                f" {LARGEST_SIDE}: choose larger pixels"
            )
        edge = (old - new * step) / 2  # of the new field, measured from the edge of the old one
        if abs(step - 1) * old < _INTEGER:
            # Whole pixels: an odd difference must not shift by half a pixel and blur, nor rounding by a whole one.
            step, edge = 1.0, float((old - new) // 2)
        shift = edge + step / 2 - 0.5
        affine[:3, 3] += affine[:3, axis] * shift
        affine[:3, axis] *= step
        shape[axis] = new
    return Geometry((shape[0], shape[1], shape[2]), affine)


def size_step(old: int, size: int | None) -> float:
    """Return the step that spreads ``size`` new pixels over ``old`` ones; 1 where no size is asked for."""
    return old / size if size else 1.0


def plane_axes(old: Geometry, new: Geometry) -> tuple[Axis, Axis]:
    """Find rows and columns of ``new`` in pixels of ``old``, two axial grids with the same slices.

    Raises:
        NasosegError: If the slices are not the same.
    """
    mapping = np.linalg.solve(old.affine_lps, new.affine_lps)  # new indices to old indices
    expected = np.diag([1.0, mapping[1, 1], mapping[2, 2], 1.0])
    expected[1:3, 3] = mapping[1:3, 3]
    off = np.abs(mapping - expected) @ np.array([*new.shape, 1.0])
    if old.shape[0] != new.shape[0] or off.max() > 0.01 or min(mapping[1, 1], mapping[2, 2]) <= 0:
        raise NasosegError(
            f"the grid {new.shape} does not hold the slices of the grid {old.shape}: expected the stored grid and the"
            " source grid of one patient"
        )
    rows, columns = (
        Axis(old.shape[axis], new.shape[axis], float(mapping[axis, axis]), float(mapping[axis, 3])) for axis in (1, 2)
    )
    return rows, columns


def resample_image(
    image: npt.NDArray[Any], old: Geometry, new: Geometry, *, outside: float, widened: bool = True
) -> npt.NDArray[Any]:
    """Resample the planes of a (z, h, w) image, linearly and without aliasing; the type stays.

    Args:
        image: Voxels on ``old``.
        old: Axial grid of ``image``.
        new: Axial grid with the same slices.
        outside: Value of new pixels that lie outside the old plane.
        widened: Average over what a larger new pixel covers; False takes the value at its centre.
    """
    rows, columns = plane_axes(old, new)
    by_row, by_column = rows.weights(widened=widened), columns.weights(widened=widened)
    beyond = ~(rows.inside()[:, None] & columns.inside()[None, :])
    result = np.empty(new.shape, image.dtype)
    for z in range(old.shape[0]):
        plane = (by_column @ (by_row @ image[z].astype(np.float32)).T).T
        plane[beyond] = outside
        result[z] = np.rint(plane) if image.dtype.kind in "iu" else plane
    return result


def resample_mask(mask: npt.NDArray[Any], old: Geometry, new: Geometry) -> npt.NDArray[np.bool_]:
    """Resample the planes of a (z, h, w) mask: inside where it, interpolated at the centre, is 0.5 or more.

    It is not averaged over a larger new pixel, as an image is: a half covered on average shrinks what is small. On
    OpenKBP at twice the pixel, there and back, the cord then keeps 0.59 of its volume at a DSC of 0.65; interpolated
    at the centre it becomes 1.20 at 0.76 (ties count as inside), and 0.99 at 1.6 times the pixel.
    """
    cover = resample_image((mask != 0).astype(np.float32), old, new, outside=0.0, widened=False)
    return np.asarray(cover >= 0.5)


def to_source(array: npt.NDArray[Any], stored: Geometry, source: Geometry) -> npt.NDArray[Any]:
    """Put a prediction on the stored grid back onto the grid of the file that the patient came from.

    Without resampling every voxel returns to where it came from; what was cropped away is 0.

    Args:
        array: (z, h, w) on ``stored``: bool or bit planes (each bit a mask), or floats (probabilities).
        stored: ``Patient.geometry``.
        source: ``Patient.source``.

    Returns:
        The same type, in the source file's index order.

    Raises:
        NasosegError: If the two grids are not of one patient, or the type is a signed integer.
    """
    if array.shape != stored.shape or array.dtype.kind not in "buf":
        raise NasosegError(
            f"to_source: found {array.dtype} {array.shape}, expected bool, unsigned bit planes or floats of shape"
            f" {stored.shape}"
        )
    axial = source.axial()
    rows, columns = plane_axes(stored, axial)
    if rows.is_copy and columns.is_copy:
        return from_axial(_moved(array, rows, columns), source)
    if array.dtype.kind == "f":
        return from_axial(resample_image(array, stored, axial, outside=0.0), source)
    if array.dtype.kind == "b":
        return from_axial(resample_mask(array, stored, axial), source)
    planes = np.zeros(axial.shape, array.dtype)
    for bit in range(8 * array.dtype.itemsize):
        one = array.dtype.type(1 << bit)
        if (mask := array & one).any():
            planes[resample_mask(mask, stored, axial)] |= one
    return from_axial(planes, source)


def _moved(array: npt.NDArray[Any], rows: Axis, columns: Axis) -> npt.NDArray[Any]:
    """Crop and pad with 0, without arithmetic on the values."""
    moved = np.zeros((array.shape[0], rows.new, columns.new), array.dtype)
    (new_rows, old_rows), (new_columns, old_columns) = (_overlap(axis) for axis in (rows, columns))
    moved[:, new_rows, new_columns] = array[:, old_rows, old_columns]
    return moved


def _overlap(axis: Axis) -> tuple[slice, slice]:
    shift = round(axis.shift)
    start, stop = max(0, -shift), max(0, min(axis.new, axis.old - shift))
    start = min(start, stop)
    return slice(start, stop), slice(start + shift, stop + shift)
