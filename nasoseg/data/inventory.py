"""Count what a store holds: patients, slices and structures, for `nasoseg info` and the end of `nasoseg prepare`."""

from dataclasses import dataclass

import numpy as np

from nasoseg.data.store import Store


@dataclass(frozen=True)
class StructureCount:
    """Count one structure.

    Attributes:
        name: Its name.
        tg263: Its TG-263 name.
        annotated: Patients it was annotated in, those included in whom it is absent.
        present: Patients with a voxel of it.
        slices: Slices with a voxel of it.
        median_ml: Median volume over the patients with a voxel of it; None if there is none.
    """

    name: str
    tg263: str
    annotated: int
    present: int
    slices: int
    median_ml: float | None


@dataclass(frozen=True)
class Inventory:
    """Count a store.

    Attributes:
        patients: Number of patients.
        slices: Slices of all patients, those without a label included.
        labelled_slices: Slices with a voxel of any structure.
        structures: One count a structure, in the order of the bits.
        shapes: Smallest and largest number of slices, rows and columns.
        spacing_mm: Smallest and largest spacing of slices, rows and columns.
        content_sha256: The store's hash.
    """

    patients: int
    slices: int
    labelled_slices: int
    structures: list[StructureCount]
    shapes: dict[str, tuple[int, int]]
    spacing_mm: dict[str, tuple[float, float]]
    content_sha256: str


def take_inventory(store: Store) -> Inventory:
    """Count a store from its index, without reading an image."""
    geometries = [store.geometry(key) for key in store.keys]
    shapes = np.array([geometry.shape for geometry in geometries])
    spacings = np.array([geometry.spacing_mm for geometry in geometries])
    voxel_ml = np.array([abs(np.linalg.det(geometry.affine_lps[:3, :3])) / 1000 for geometry in geometries])
    volumes_ml = np.array([store.voxels[key].sum(axis=0) for key in store.keys]) * voxel_ml[:, None]
    axes = ("slices", "rows", "columns")
    structures = [
        StructureCount(
            structure.name,
            structure.tg263,
            annotated=int(store.annotated[:, i].sum()),
            present=int(np.count_nonzero(volumes_ml[:, i])),
            slices=int(sum(np.count_nonzero(store.voxels[key][:, i]) for key in store.keys)),
            median_ml=float(np.median(drawn)) if (drawn := volumes_ml[volumes_ml[:, i] > 0, i]).size else None,
        )
        for i, structure in enumerate(store.structures)
    ]
    return Inventory(
        patients=len(store.keys),
        slices=int(shapes[:, 0].sum()),
        labelled_slices=int(sum(np.count_nonzero(store.voxels[key].any(axis=1)) for key in store.keys)),
        structures=structures,
        shapes={axis: (int(shapes[:, i].min()), int(shapes[:, i].max())) for i, axis in enumerate(axes)},
        spacing_mm={axis: (float(spacings[:, i].min()), float(spacings[:, i].max())) for i, axis in enumerate(axes)},
        content_sha256=store.content_sha256,
    )
