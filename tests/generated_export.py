"""A clinic's export in small: two patients, each a CT and an RTSTRUCT drawn on it, real DICOM files in nested folders.

Alpha lies supine, Beta prone, so that his pixels are stored turned by half a turn. Names, IDs, dates and UIDs are
planted in every file; ``MARKERS`` are those that no store may hold.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
from generated_dicom import AXIAL, anatomy, uid, write_ct
from generated_rtstruct import Drawn, rtstruct, saved, square

ALPHA, BETA = "Alpha-7781", "Beta-0042"
SHAPE = (6, 40, 48)
AFFINES = {
    ALPHA: AXIAL,  # x from -20 to 22 mm, y from -30 to 1, z 100, 102.5 ... 112.5
    BETA: np.array([[0, 0, -0.9, 22.3], [0, -0.8, 0, 1.2], [2.5, 0, 0, 100.0], [0, 0, 0, 1]]),
}
SQUARES = {  # x, y of the centre, half a side, slices: in millimetres of the patient, whatever his position
    "Parotis li": (12.0, -12.0, 4.13, (102.5, 105.0)),
    "Parotis re": (-11.0, -12.0, 4.13, (102.5, 105.0)),
    "Myelon": (0.5, -6.0, 3.07, (100.0, 102.5, 105.0)),
}
STRUCTURES = {"Parotis li": "Parotid_L", "Parotis re": "Parotid_R", "Myelon": "SpinalCord"}
MARKERS = (
    *(b"Secretname", "Jördis".encode(), "Jördis".encode("latin-1"), b"19500607", ALPHA.encode(), BETA.encode()),
    *(uid(patient, kind).encode() for patient in (ALPHA, BETA) for kind in ("study", "series", "frame")),
    *(b"1.2.826.0.1.3680043", b"rs.dcm", b"export", b"Parotis"),
)


def hu(patient: str) -> np.ndarray:
    """HU as the patient's files store them, slice, row, column."""
    return anatomy(SHAPE, seed=len(patient))


def drawn(roi: str, affine: np.ndarray = AXIAL) -> np.ndarray:
    """The mask of a ROI as the files store it: the voxels whose centre lies in its squares."""
    x, y, half, levels = SQUARES[roi]
    lps = np.tensordot(affine[:3, :3], np.indices(SHAPE), axes=1) + affine[:3, 3, None, None, None]
    return (abs(lps[0] - x) < half) & (abs(lps[1] - y) < half) & np.isin(np.round(lps[2], 3), levels)


def rois(names: Sequence[str] = tuple(SQUARES)) -> dict[str, list[Drawn]]:
    """Contours of the known ROIs, with a ROI that means nothing, one of a point, and an empty one."""
    contours = {
        name: [square(z, -half, half, x=x, y=y) for z in levels]
        for name in names
        for x, y, half, levels in [SQUARES[name]]
    }
    return contours | {
        "PTV Secretname": [square(105.0, -3, 3, y=-10)],
        "Kehlkopf": [("POINT", [(1.0, -10.0, 105.0)])],
        "Mandibula": [],
    }


def write_patient(folder: Path, patient: str = ALPHA, *, series: str = "series") -> None:
    """Write the CT and the structure set of a patient."""
    write_ct(folder / "images" / series, hu(patient), AFFINES[patient], patient=patient, series=series)
    write_rtstruct(folder / "rs.dcm", patient, rois(), series=series)


def write_rtstruct(
    path: Path,
    patient: str,
    contours: Mapping[str, Sequence[Drawn]],
    *,
    series: str = "series",
    edit: Callable[[pydicom.Dataset], None] = lambda dataset: None,
) -> Path:
    """Write a structure set drawn on a CT of ``write_ct``."""
    ct = SimpleNamespace(
        header=SimpleNamespace(PatientID=patient),
        study_instance_uid=uid(patient, "study"),
        series_instance_uid=uid(patient, series),
        frame_of_reference_uid=uid(patient, "frame"),
        planes=[SimpleNamespace(sop_instance_uid=uid(patient, series, z)) for z in range(SHAPE[0])],
    )
    dataset = rtstruct(ct, contours)
    dataset.PatientName, dataset.PatientBirthDate = "Secretname^Jördis", "19500607"
    edit(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    return saved(dataset, path)


def write_export(root: Path) -> Path:
    """Write both patients, at different depths, with what lies beside."""
    write_patient(root / "2020" / "Secretname" / ALPHA, ALPHA)
    write_patient(root / BETA, BETA)
    (root / "readme.txt").write_text("exported")
    return root
