"""Contours that the CT contradicts: on the carried patients none, and on the same patients moved, all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_files import read_nifti

from nasoseg.data.misplaced import contour_warnings
from nasoseg.data.store import Patient, pack_planes
from nasoseg.labels import OPENKBP, Structure
from nasoseg.structure_map import load_structure_map
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.dicom_scan import find_studies
from nasoseg.volumes.rtstruct import read_rtstruct
from nasoseg.volumes.volume import Geometry

CORD, PAROTID = Structure("Myelon", "SpinalCord"), Structure("Parotis", "Parotid_L")
JAW, LARYNX = Structure("Kiefer", "Bone_Mandible"), Structure("Larynx", "Larynx")


def test_the_carried_patients_are_plausible(sample_root):
    for folder in sorted(folder for folder in sample_root.iterdir() if folder.is_dir()):
        assert contour_warnings(whole_patient(folder), OPENKBP) == []


@pytest.mark.parametrize("move_mm", [(0, 0, 60), (0, 0, -60), (0, 60, 0), (0, -60, 0)], ids=str)
def test_contours_moved_by_60_mm_are_seen_in_nearly_all(small_store, move_mm):
    seen = 0
    for key in small_store.keys:
        patient = small_store.patient(key)
        steps = np.rint(np.array(move_mm) / small_store.geometry(key).spacing_mm).astype(int)
        moved = replace(patient, labels=np.roll(patient.labels, steps, axis=(0, 1, 2)))
        seen += bool(contour_warnings(moved, small_store.structures))
    assert seen >= 11  # of 12


def box(shape=(4, 40, 40), low=12, high=28) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[:, low:high, low:high] = True
    return mask


def patient(image: np.ndarray, mask: np.ndarray, spacing_mm: float = 1.0) -> Patient:
    affine = np.diag([3.0, spacing_mm, spacing_mm, 1.0])[[2, 1, 0, 3]]
    labels = mask.astype("<u2")
    return Patient("P", image.astype(np.int16), labels, np.array([True]), affine, Geometry(image.shape, affine))


def warned(structure: Structure, image: np.ndarray, mask: np.ndarray, **options: float) -> list[str]:
    return contour_warnings(patient(image, mask, **options), [structure])


def test_soft_tissue_is_no_bone_and_a_mandible_is():
    for structure, hu, words in (
        (PAROTID, 151, "Parotis: it lies in bone: its median is 151 HU"),
        (PAROTID, 150, ""),
        (JAW, 199, "Kiefer: it does not lie in bone: its median is 199 HU"),
        (JAW, 200, ""),
        (LARYNX, 500, ""),
    ):
        found = warned(structure, np.full((4, 40, 40), hu), box())
        assert [text[: len(words)] for text in found] == ([words] if words else [])


def test_a_tenth_of_air_is_too_much_but_in_what_holds_air():
    image = np.full((4, 40, 40), 40)
    image[:, 12:14, 12:28] = -501  # an eighth of the box
    (found,) = warned(PAROTID, image, box())
    assert found.startswith("Parotis: 12% of it is air (below -500 HU)")
    assert warned(LARYNX, image, box()) == []
    image[:, 13, 12:28] = 40  # a sixteenth
    assert warned(PAROTID, image, box()) == []


def test_air_beside_the_cord_is_measured_in_mm():
    mask, image = box(low=18, high=22), np.where(box(low=8, high=32), 40, -1000)  # tissue for 10 pixels around
    assert warned(CORD, image, mask) == []
    (found,) = warned(CORD, image, mask, spacing_mm=0.5)  # which are 5 mm now
    assert "of what lies within 10 mm is air: the CT is cut away around it" in found


def test_a_cord_of_many_square_centimetres_is_none():
    image = np.full((4, 40, 40), 40)
    assert warned(CORD, image, box()) == []  # 2.6 cm2
    (found,) = warned(CORD, image, box(), spacing_mm=2.0)  # 10 cm2
    assert found.startswith("Myelon: its slices have 10 cm2, a cord about 1")


def test_what_is_tiny_empty_or_unknown_is_not_judged():
    image = np.full((4, 40, 40), 2000)
    assert warned(PAROTID, image, np.zeros_like(box())) == []
    assert warned(PAROTID, image, box((4, 40, 40), 12, 14) & (np.arange(4) < 2)[:, None, None]) == []
    assert warned(Structure("PTV70", "PTV_7000"), image, box()) == []


@pytest.mark.nightly
def test_a_real_dicom_study_is_plausible(request):
    archive = request.config.rootpath.parent / "shared" / "data" / "dicom" / "lung1-003.zip"
    if not archive.is_file():
        pytest.skip("the real DICOM data are not beside the project")
    with opened(archive) as root:
        ct = read_ct(root)
        (drawn,) = find_studies(root)[0].contours
        structures = read_rtstruct(drawn.path, ct)
        known = load_structure_map()
        matched = {name: known.match(name).structure for name in structures}
        judged = {name: structure for name, structure in matched.items() if structure}
        image = ct.volume.array.astype(np.int16)
        for name, structure in judged.items():
            one = Patient("P", image, structures[name].astype("<u2"), np.array([True]), ct.volume.geometry.affine_lps,
                          ct.volume.geometry)  # fmt: skip
            assert contour_warnings(one, [structure]) == []
    assert {"SpinalCord"} <= {structure.tg263 for structure in judged.values()}


def whole_patient(folder: Path) -> Patient:
    scan = read_nifti(folder / "ct.nii.gz")
    files = {i: folder / "segmentations" / f"{s.name}.nii.gz" for i, s in enumerate(OPENKBP)}
    masks = {i: read_nifti(path).array for i, path in files.items() if path.exists()}
    labels = pack_planes(masks, shape=scan.array.shape, structures=len(OPENKBP))
    drawn = np.array([i in masks for i in range(len(OPENKBP))])
    return Patient(folder.name, scan.array.astype(np.int16), labels, drawn, scan.geometry.affine_lps, scan.geometry)


@pytest.mark.nightly
def test_of_openkbp_those_patients_are_warned_of_that_someone_looked_at(openkbp):
    patients = [folder for folder in sorted(openkbp.iterdir()) if (folder / "ct.nii.gz").is_file()]
    warned = {folder.name for folder in patients if contour_warnings(whole_patient(folder), OPENKBP)}
    assert warned == {"pt_51", "pt_89", "pt_103", "pt_143", "pt_208", "pt_216", "pt_221"}
