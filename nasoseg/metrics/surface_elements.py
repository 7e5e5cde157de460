"""Surface elements of a mask: at which corners of its voxels it has a surface, and how much of it lies there.

The surface is that of marching cubes. Around every corner of the voxel grid lie eight voxels; their centres are the
corners of a cube, the dual cube. Which of the eight belong to the mask is its neighbour code, 0 to 255. A cube with
some inside and some outside is cut by the surface, and is one surface element: its place is the corner of the grid,
its area that of the cut.

The area follows from the code alone, in these steps:

1. The surface crosses every edge of the cube that joins inside and outside, in the middle.
2. Of inside and outside the smaller set decides. Its corners that are joined along edges are one piece; each piece is
   cut off by one polygon through the middles of the edges that leave it. So corners that touch across the diagonal of
   a face are kept apart. With four and four both sides give the same polygons.
3. A polygon of three or four middles is flat, and so is the hexagon around a corner with its three neighbours. Two are
   not: the pentagon around three corners in an L, and the hexagon around a path of four corners that leaves the plane.
   They are cut into triangles, in the way that gives the greatest area on a grid of cubes. That is the choice of the
   table in ``surface-distance`` too; another way would give other areas.

A triangle is kept as its vector area on a grid of cubes with sides of 1, half the cross product of two sides. On a grid
with spacing (d0, d1, d2) its components grow by d1 d2, d0 d2 and d0 d1, so that one table serves all grids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

Corner = tuple[int, int, int]

_CORNERS: tuple[Corner, ...] = tuple((i, j, k) for i, j, k in product((0, 1), repeat=3))
"""Voxels around a corner of the grid, bit 0 first: 0 is the lower neighbour along an axis, 1 the upper."""


@dataclass(frozen=True)
class SurfaceElements:
    """Hold the n elements of a surface.

    Attributes:
        corners: (n, 3); corner (i, j, k) is the lower end of voxel (i, j, k) along every axis. In ascending order.
        areas_mm2: (n,).
    """

    corners: npt.NDArray[np.int64]
    areas_mm2: npt.NDArray[np.float64]


def surface_elements(mask: npt.NDArray[np.bool_], *, spacing_mm: npt.NDArray[np.float64]) -> SurfaceElements:
    """Find the surface of a mask. Outside of the array is outside of the mask: the surface is always closed.

    Args:
        mask: Three-dimensional.
        spacing_mm: (3,), along the axes of ``mask``.
    """
    box = _box(mask)
    if box is None:
        return SurfaceElements(np.empty((0, 3), np.int64), np.empty(0))
    codes = _neighbour_codes(mask[box])
    found = np.flatnonzero((codes + np.uint8(1)) > 1)  # 255 wraps round to 0: neither all outside nor all inside
    corners = np.stack(np.unravel_index(found, codes.shape), axis=1)
    corners += [side.start for side in box]
    return SurfaceElements(corners, element_areas(spacing_mm)[codes.ravel()[found]])


def element_areas(spacing_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the area in mm2 of the surface element of every neighbour code, (256,).

    Bit 4 i + 2 j + k of a code belongs to the voxel at (i, j, k) of the eight, 0 being the lower one along an axis.
    """
    codes, vectors = _facets()
    sides = np.asarray(spacing_mm, np.float64)
    areas = np.linalg.norm(vectors * (sides[[1, 0, 0]] * sides[[2, 2, 1]]), axis=1)
    return np.bincount(codes, areas, minlength=256).astype(np.float64)


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Find the smallest box around the true voxels."""
    planes = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    if not planes.size:
        return None
    first = slice(planes[0], planes[-1] + 1)
    shadow = np.asarray(mask[first].any(axis=0))
    rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
    return first, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _neighbour_codes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the code at every corner of the grid: one more along each axis than there are voxels."""
    bits: npt.NDArray[np.uint8] = np.pad(mask, 1).view(np.uint8)
    pairs = bits[:, :, :-1] | (bits[:, :, 1:] << 1)
    squares = pairs[:, :-1] | (pairs[:, 1:] << 2)
    return np.asarray(squares[:-1] | (squares[1:] << 4), np.uint8)


@cache
def _facets() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return all triangles of all codes: the code of each, and its vector area (3,) on a grid of cubes of side 1."""
    codes: list[int] = []
    vectors: list[npt.NDArray[np.float64]] = []
    for code in range(256):
        inside = frozenset(corner for bit, corner in enumerate(_CORNERS) if code >> bit & 1)
        for piece in _pieces(inside if len(inside) <= 4 else frozenset(_CORNERS) - inside):
            triangles = _cut(piece)
            codes += [code] * len(triangles)
            vectors.append(triangles)
    return np.array(codes), np.concatenate(vectors)


def _pieces(corners: frozenset[Corner]) -> Iterator[frozenset[Corner]]:
    """Split corners into groups that are joined along edges of the cube."""
    rest = set(corners)
    while rest:
        piece = {rest.pop()}
        while joined := {n for corner in piece for n in _neighbours(corner)} & rest:
            piece |= joined
            rest -= joined
        yield frozenset(piece)


def _neighbours(corner: Corner) -> list[Corner]:
    i, j, k = corner
    return [(1 - i, j, k), (i, 1 - j, k), (i, j, 1 - k)]


@cache
def _cut(piece: frozenset[Corner]) -> npt.NDArray[np.float64]:
    """Return the vector areas (t, 3) of the triangles that cut a piece off."""
    polygon = _polygon(piece)
    ways = np.array(_triangulations(0, len(polygon) - 1))  # (ways, t, 3): which middles are the corners of a triangle
    a, b, c = (polygon[ways[..., corner]] for corner in range(3))
    vectors = np.cross(b - a, c - a) / 2
    greatest = np.linalg.norm(vectors, axis=2).sum(axis=1).argmax()
    return np.asarray(vectors[greatest])


def _polygon(piece: frozenset[Corner]) -> npt.NDArray[np.float64]:
    """Walk round the middles of the edges that leave a piece: two that follow each other lie on one face of the cube.

    On every face there are two of them or none, because no two corners of a piece lie across a face without a third
    of the piece between them.
    """
    edges = [(corner, n) for corner in sorted(piece) for n in _neighbours(corner) if n not in piece]
    left = [np.add(corner, n) / 2 for corner, n in edges]
    walk = [left.pop()]
    while left:
        # A middle has 1/2 along one axis: where two agree in a 0 or 1, they lie on one face.
        beside = next(i for i, middle in enumerate(left) if np.any((middle == walk[-1]) & (middle != 0.5)))
        walk.append(left.pop(beside))
    return np.array(walk)


def _triangulations(first: int, last: int) -> list[list[tuple[int, int, int]]]:
    """List all ways to cut the polygon with the corners ``first`` to ``last`` into triangles."""
    if last - first < 2:
        return [[]]
    return [
        [(first, middle, last), *one, *other]
        for middle in range(first + 1, last)
        for one in _triangulations(first, middle)
        for other in _triangulations(middle, last)
    ]
