"""Find the masks of any program: a folder a patient with a file a structure, or one label map a patient."""

from pathlib import Path

from nasoseg import labels
from nasoseg.data.studies import Contour, Study, read_dataset_json
from nasoseg.errors import NasosegError
from nasoseg.files import visible
from nasoseg.volumes.header import EXTENSIONS, split_name

_LAYOUTS = (
    "<patient>/<structure>.nii.gz, <patient>/segmentations/<structure>.nii.gz, or label maps <patient>.nii.gz with"
    " nnU-Net's dataset.json"
)


def find_masks(root: Path, *, dataset_json: Path | None = None) -> dict[str, Study]:
    """Find all patients with masks under ``root``.

    Args:
        root: Holds a folder a patient, with a file a structure (``ct`` is passed over) in it or in its
            ``segmentations``; or one label map a patient.
        dataset_json: What the values of label maps mean; None looks for ``dataset.json`` beside the maps, then in the
            folder above. nnU-Net puts it there for predictions and for ``labelsTr``.

    Returns:
        Patients by name; ``ct`` of each is the folder or label map itself, as no CT is needed.

    Raises:
        NasosegError: If there is no patient, a structure has two files, or the values of label maps are not explained.
    """
    if not root.is_dir():
        raise NasosegError(f"{root}: no such folder: expected {_LAYOUTS}")
    shown = visible(root)
    if any(path.is_file() and split_name(path)[1] for path in shown):
        studies = _label_maps(root, shown, dataset_json)
    else:
        studies = [_folder(path) for path in shown if path.is_dir()]
    if not any(study.contours for study in studies):
        seen = ", ".join(path.name for path in shown[:5]) or "nothing"
        raise NasosegError(f"{root}: no mask found (it holds {seen}): expected {_LAYOUTS}")
    return {study.name: study for study in studies}


def _folder(folder: Path) -> Study:
    inner = folder / "segmentations"
    contours: dict[str, Contour] = {}
    for path in visible(inner if inner.is_dir() else folder):
        structure, ending = split_name(path)
        if not ending or structure == "ct" or not path.is_file():
            continue
        twin = contours.setdefault(labels.identity(structure), Contour(structure, path))
        if twin.path != path:
            raise NasosegError(
                f"{path}: the same structure is also in {twin.path.name}: expected one file a structure: remove one"
            )
    return Study(folder.name, folder, tuple(contours.values()))


def _label_maps(root: Path, shown: list[Path], dataset_json: Path | None) -> list[Study]:
    places = [dataset_json] if dataset_json else [root / "dataset.json", root.parent / "dataset.json"]
    described = next((path for path in places if path.is_file()), None)
    if described is None:
        raise NasosegError(
            f"{root}: holds label maps, and there is no {' or '.join(map(str, places))} to say what their values mean:"
            f" name it with --dataset-json, or arrange the masks as {_LAYOUTS}"
        )
    values, ignore, ending, _ = read_dataset_json(described)
    known = tuple(sorted({value for of in values.values() for value in of} | {0}))
    maps = [path for path in shown if path.is_file() and path.name.endswith(ending)]
    if not maps:
        raise NasosegError(
            f"{root}: no label map ends in {ending}, as {described} says, expected one of {', '.join(EXTENSIONS)}:"
            " correct file_ending there"
        )
    labels.check_spellings((name, str(described)) for name in values)
    return [
        Study(
            path.name.removesuffix(ending),
            path,
            tuple(Contour(name, path, of) for name, of in values.items()),
            known,
            ignore,
        )
        for path in maps
    ]
