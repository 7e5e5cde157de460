"""The files that the viewer's page consists of: itself, NiiVue, the CT, the label maps, and a description of these."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nasoseg.labels import identity
from nasoseg.report.figure_style import LineStyle, structure_looks
from nasoseg.report.samples import WINDOW_HU
from nasoseg.report.view.label_maps import LabelMap, Place, pack
from nasoseg.report.view.nifti_bytes import nifti_bytes
from nasoseg.report.view.niivue import niivue_script
from nasoseg.report.view.server import ServedFile
from nasoseg.report.view.study import MaskSet, ShownStudy
from nasoseg.volumes.volume import Geometry

_HTML = Path(__file__).parent / "html"
_REPORT_STYLE = Path(__file__).parents[1] / "page" / "html" / "page.css"
_BINARY = "application/octet-stream"
_SCRIPT = "text/javascript; charset=utf-8"
_STYLE = "text/css; charset=utf-8"

# The windows that radiologists use, from low to high HU; the first is that of the figures and of the training.
_WINDOWS_HU = {
    "soft tissue": WINDOW_HU,
    "brain": (0, 80),
    "bone": (-500, 1300),
    "lung and airway": (-1350, 150),
}

# Where the report tells two structures of one colour by the style of their lines, the page has shades: mixed with
# white or black, and by how much.
_SHADES: dict[LineStyle, tuple[int, float]] = {
    "solid": (0, 0.0),
    "dashed": (255, 0.5),
    "dotted": (0, 0.4),
    "dashdot": (255, 0.75),
}


def site_files(study: ShownStudy) -> dict[str, ServedFile]:
    """Make all files of the page, for ``StudyServer``.

    Texts of the study are in ``study.json`` alone, which the page takes as data.

    Raises:
        NasosegError: If NiiVue is not there.
    """
    script = niivue_script()
    grid = study.ct.geometry
    maps, places = pack((mask for one in study.sets for mask in one.masks.values()), grid)
    described = _described(study, places) | {"start": _start(maps, grid)}
    described["maps"] = [{"file": f"map_{number}.nii.gz", "labels": one.count} for number, one in enumerate(maps)]
    files = {
        "": ServedFile("text/html; charset=utf-8", (_HTML / "view.html").read_bytes()),
        "report.css": ServedFile(_STYLE, _REPORT_STYLE.read_bytes()),
        "view.css": ServedFile(_STYLE, (_HTML / "view.css").read_bytes()),
        "view.js": ServedFile(_SCRIPT, (_HTML / "view.js").read_bytes()),
        "niivue.js": ServedFile(_SCRIPT, script),
        "study.json": ServedFile("application/json", json.dumps(described, allow_nan=False).encode()),
        "ct.nii": ServedFile(_BINARY, nifti_bytes(study.ct.array.astype(np.int16, copy=False), grid)),
    }
    for entry, one in zip(described["maps"], maps, strict=True):
        files[entry["file"]] = ServedFile(_BINARY, nifti_bytes(one.labels, one.geometry, compress=True))
    return files


def _described(study: ShownStudy, places: Sequence[Place | None]) -> dict[str, Any]:
    """Describe the study for the page: names, colours, volumes, and where each mask is."""
    by_structure = _colours(study.sets)
    by_set = _shaded([one.name for one in study.sets])
    voxel_ml = abs(float(np.linalg.det(study.ct.geometry.affine_lps[:3, :3]))) / 1000
    left = iter(places)
    sets = [
        {
            "name": one.name,
            "colour": by_set[one.name],
            "structures": [
                {
                    "name": name,
                    "colour": by_structure[identity(name)],
                    "ml": round(mask.voxels * voxel_ml, 2),
                    "place": None if (place := next(left)) is None else {"map": place.map, "label": place.label},
                }
                for name, mask in one.masks.items()
            ],
        }
        for one in study.sets
    ]
    slices, rows, columns = study.ct.geometry.shape
    windows = [{"name": name, "low": low, "high": high} for name, (low, high) in _WINDOWS_HU.items()]
    return {
        "version": version("nasoseg"),
        "title": study.title,
        "shape": [columns, rows, slices],
        "windows": windows,
        "sets": sets,
    }


def _start(maps: Sequence[LabelMap], grid: Geometry) -> list[int]:
    """Choose the voxel to begin at, to Right, Anterior, Superior: the middle of all that is drawn."""
    sides = np.array(grid.shape)
    first = np.min([one.start for one in maps], axis=0) if maps else np.zeros(3, int)
    last = np.max([np.add(one.start, one.labels.shape) for one in maps], axis=0) - 1 if maps else sides - 1
    z, y, x = (first + last) // 2
    return [int(sides[2] - 1 - x), int(sides[1] - 1 - y), int(z)]


def _colours(sets: Sequence[MaskSet]) -> dict[str, str]:
    """Give every structure its colour, by what its name means: two spellings of one have the same."""
    spelled: dict[str, str] = {}
    for one in sets:
        for name in one.masks:
            spelled.setdefault(identity(name), name)
    looks = _shaded(list(spelled.values()))
    return {meant: looks[name] for meant, name in spelled.items()}


def _shaded(names: Sequence[str]) -> dict[str, str]:
    """Give names the report's colours, with shades in place of its line styles."""
    shaded = {}
    for name, (colour, line) in structure_looks(names).items():
        towards, share = _SHADES[line]
        parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        shaded[name] = "#" + "".join(f"{round(part + (towards - part) * share):02X}" for part in parts)
    return shaded
