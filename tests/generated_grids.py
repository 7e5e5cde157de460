"""Grids of any kind, for tests of whatever reads, turns or resamples volumes."""

import numpy as np
from hypothesis import strategies as st

from nasoseg.volumes.volume import Geometry


@st.composite
def grids(draw: st.DrawFn, *, smallest: int = 1, largest: int = 7, isotropic: bool = False) -> Geometry:
    """Any axis order, any flips, any obliqueness, any spacing."""
    sides = st.integers(smallest, largest)
    shape = (draw(sides), draw(sides), draw(sides))
    order = draw(st.permutations(range(3)))
    signs = [draw(st.sampled_from((-1.0, 1.0))) for _ in range(3)]
    x, y, z = (np.deg2rad(draw(st.floats(-40, 40))) for _ in range(3))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    spacing = [draw(st.floats(0.3, 6))] * 3 if isotropic else [draw(st.floats(0.3, 6)) for _ in range(3)]
    affine[:3, :3] = about_x @ about_y @ about_z @ (np.eye(3)[:, order] * signs) * spacing
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Geometry(shape, affine)


def numbered(shape: tuple[int, int, int]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
