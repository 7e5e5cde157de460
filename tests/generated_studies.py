"""Small generated studies in both layouts, written with nibabel, for the tests of `prepare`."""

import json
from pathlib import Path

import nibabel
import numpy as np

AFFINE_RAS = np.array([[-1.5, 0, 0, 20], [0, 2.0, 0, -30], [0, 0, 3.0, 100], [0, 0, 0, 1]])
SHAPE = (24, 20, 8)  # columns to Left, rows to Anterior, slices to Superior

BOXES = {
    "Brainstem": np.s_[10:14, 8:12, 4:8],
    "Larynx": np.s_[10:15, 4:9, 0:3],
    "Parotid_L": np.s_[17:22, 8:13, 2:6],
    "Parotid_R": np.s_[2:7, 8:13, 2:6],
}


def ct(seed: int = 0) -> np.ndarray:
    """Soft tissue in air."""
    image = np.full(SHAPE, -1000.0)
    image[1:-1, 2:-2] = 40
    return np.rint(image + np.random.default_rng(seed).normal(0, 10, SHAPE)).astype(np.int16)


def mask(structure: str) -> np.ndarray:
    result = np.zeros(SHAPE, np.uint8)
    result[BOXES[structure]] = 1
    return result


def save(path: Path, array: np.ndarray, affine_ras: np.ndarray = AFFINE_RAS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine_ras, dtype=array.dtype), path)
    return path


def write_patients(root: Path, patients: int = 4) -> Path:
    """Write ``<patient>/ct.nii.gz`` and ``segmentations``; the first patient has no larynx file."""
    for number in range(patients):
        folder = root / f"case {number}"
        save(folder / "ct.nii.gz", ct(number))
        for structure in BOXES:
            if number or structure != "Larynx":
                save(folder / "segmentations" / f"{structure}.nii.gz", mask(structure))
    return root


def write_nnunet(root: Path, cases: int = 3, **changes: object) -> Path:
    """Write nnU-Net's raw layout: parotids and brainstem as values, nested regions over them."""
    values = {"Brainstem": 1, "Parotid_L": 2, "Parotid_R": 3}
    for number in range(cases):
        save(root / "imagesTr" / f"hn_{number:03}_0000.nii.gz", ct(number))
        labels = np.zeros(SHAPE, np.uint8)
        for structure, value in values.items():
            if number or structure != "Brainstem":
                labels[mask(structure) != 0] = value
        save(root / "labelsTr" / f"hn_{number:03}.nii.gz", labels)
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "Glands": [2, 3], "Brainstem": 1, "Parotid_L": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described | changes))
    return root
