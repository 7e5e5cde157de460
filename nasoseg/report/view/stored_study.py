"""One patient of a store as a study: whole scan, annotated structures, and predictions on his original grid."""

from collections.abc import Mapping
from pathlib import Path

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError, nearest
from nasoseg.report.view.image_study import read_masks
from nasoseg.report.view.study import OWN_MASKS, MaskSet, ShownStudy
from nasoseg.volumes.structure_set import PackedMask
from nasoseg.volumes.volume import Volume


def is_store(path: Path) -> bool:
    """Tell whether a file is called like a store."""
    return path.is_file() and path.suffix.lower() in (".h5", ".hdf5")


def read_stored_study(path: Path, key: str | None, predictions: Mapping[str, Path]) -> ShownStudy:
    """Read one patient of a store.

    Args:
        path: The store.
        key: The patient; None where the store has only one.
        predictions: Folders of masks on the patient's original or stored grid, by name; or folders that hold one for
            every patient, as `nasoseg predict` writes them.

    Raises:
        NasosegError: If the store has no such patient, or a mask cannot be read or is on another grid.
    """
    with Store(path) as store:
        if key is None:
            if len(store.keys) > 1:
                raise NasosegError(f"{path}: holds {len(store.keys)} patients: choose with --patient: {_some(store)}")
            key = store.keys[0]
        if key not in store.keys:
            raise NasosegError(f"--patient {key!r}: {path} has no such patient: {nearest(key, store.keys)}")
        patient = store.patient(key)
        grid, source = store.geometry(key), store.source(key).axial()
        names = store.names
    own: dict[str, PackedMask] = {}
    for bit, name in enumerate(names):
        if patient.annotated[bit]:
            one = patient.labels.dtype.type(1 << bit)
            own[name] = PackedMask((patient.labels & one) != 0)
    sets = [MaskSet(OWN_MASKS, own)] if own else []
    for name, folder in predictions.items():
        of_patient = folder / key if (folder / key).is_dir() else folder
        sets.append(MaskSet(name, read_masks(of_patient, grid, source=source)))
    return ShownStudy(f"Patient {key}", Volume(patient.image, grid), tuple(sets))


def _some(store: Store, most: int = 10) -> str:
    return ", ".join(store.keys[:most]) + (", ..." if len(store.keys) > most else "")
