"""Generated heads and necks: as large as asked for, the same for the same seed, with as many structures as asked for.

What counts for speed is like CT: 16-bit numbers, noise that does not compress, air that nearly does, structures on a
part of the slices. What is learned from them counts for nothing.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.store import Patient, Store, plane_dtype, write_store
from nasoseg.labels import OPENKBP, Structure
from nasoseg.volumes.volume import Geometry

FIELD_MM, SLICE_MM = 500.0, 2.5
SLICES = 100  # of a patient
_DISTINCT = 16  # planes of noise that the slices share: drawing it anew takes longer than all that is measured


def phantom(seed: int, *, slices: int = SLICES, side: int = 512, structures: int = 10, noise_hu: float = 12) -> Patient:
    """Generate a patient: body, bone, airway, and ellipsoids side by side that no other overlaps.

    Args:
        seed: Of all that is random.
        slices: Of the scan.
        side: Rows and columns.
        structures: Number of ellipsoids, at most 64.
        noise_hu: Standard deviation of the noise; without any, a slice compresses to almost nothing.
    """
    draws = np.random.default_rng(seed)
    planes_hu = draws.normal(0, noise_hu, (_DISTINCT, side, side)).astype(np.float32)
    rows, columns = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)] * 2, indexing="ij", sparse=True)
    radius = np.sqrt((rows / 0.62) ** 2 + (columns / 0.5) ** 2)
    flat_hu = np.select([radius < 0.82, radius < 0.9, radius < 1], [40.0, 700.0, -90.0], -1000.0).astype(np.float32)
    flat_hu[(rows + 0.2) ** 2 + columns**2 < 0.004] = -1000
    around, depth = _places(draws, structures)
    image = np.empty((slices, side, side), np.int16)
    labels = np.zeros(image.shape, plane_dtype(structures))
    for z, height in enumerate(np.linspace(-1, 1, slices)):
        plane_hu = flat_hu + planes_hu[draws.integers(_DISTINCT)]
        for bit, ((row, column, size), (middle, reach)) in enumerate(zip(around, depth, strict=True)):
            share = 1 - ((height - middle) / reach) ** 2
            if share > 0:
                inside = (rows - row) ** 2 + (columns - column) ** 2 < share * size**2
                labels[z][inside] |= labels.dtype.type(1 << bit)
                plane_hu[inside] += 60
        image[z] = plane_hu.clip(-1024, 3071)
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0], affine[1, 1], affine[0, 2] = SLICE_MM, FIELD_MM / side, FIELD_MM / side
    geometry = Geometry((slices, side, side), affine)
    return Patient(f"phantom_{seed:05}", image, labels, np.ones(structures, bool), affine, geometry)


def patients(count: int, **options: Any) -> Iterator[Patient]:
    """Generate several patients, one after the other, each as :func:`phantom` does."""
    for seed in range(count):
        yield phantom(seed, **options)


def names(structures: int) -> Sequence[Structure]:
    """Name so many structures; ten are OpenKBP's."""
    if structures == len(OPENKBP):
        return list(OPENKBP)
    return [Structure(f"Structure{number:02}", None, (), (200, 4 * number % 256, 60)) for number in range(structures)]


def phantom_store(path: Path, count: int, *, structures: int = 10, **options: Any) -> Store:
    """Write generated patients as a store, or open the one that an earlier call has written there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_store(path, patients(count, structures=structures, **options), names(structures))
    return Store(path)


def _places(draws: np.random.Generator, structures: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Place ellipsoids: (k, 3) row, column, radius, and (k, 2) middle and reach along the slices, all in -1 to 1."""
    per_row = int(np.ceil(np.sqrt(structures)))
    cell = 0.6 / per_row
    places = np.array([divmod(number, per_row) for number in range(structures)])
    centres = (places + 0.5) * cell - 0.3
    sizes = draws.uniform(0.25, 0.48, structures) * cell
    depth = np.stack([draws.uniform(-0.5, 0.5, structures), draws.uniform(0.2, 0.9, structures)], axis=1)
    return np.column_stack([centres, sizes]), depth


def main() -> None:
    """Write a store of phantoms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--slices", type=int, default=SLICES, help="of each")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--structures", type=int, default=10)
    asked = parser.parse_args()
    phantom_store(asked.store, asked.patients, slices=asked.slices, side=asked.side, structures=asked.structures)


if __name__ == "__main__":
    main()
