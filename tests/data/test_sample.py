import gzip

import pytest

from nasoseg.labels import OPENKBP

COUNTS = {
    "Brainstem": 12,
    "SpinalCord": 12,
    "RightParotid": 12,
    "LeftParotid": 12,
    "Esophagus": 8,
    "Larynx": 11,
    "Mandible": 12,
    "PTV56": 10,
    "PTV63": 4,
    "PTV70": 12,
}


@pytest.mark.parametrize("structure", [s.name for s in OPENKBP])
def test_every_structure_occurs_at_least_four_times_and_as_stated(sample_root, structure):
    found = len(list(sample_root.glob(f"*/segmentations/{structure}.nii.gz")))
    assert found >= 4
    assert found == COUNTS[structure]
    assert f"| {structure} | {found} |" in (sample_root / "LICENSE.md").read_text(encoding="utf-8")


def test_sample_is_twelve_whole_patients_of_a_small_size(sample_root):
    files = [path for path in sample_root.rglob("*") if path.is_file()]
    scans = [path for path in files if path.name == "ct.nii.gz"]
    masks = [path for path in files if path.parent.name == "segmentations"]
    assert len(scans) == 12
    assert sorted(files) == sorted([*scans, *masks, sample_root / "LICENSE.md"])
    assert {path.name.removesuffix(".nii.gz") for path in masks} == set(COUNTS)
    assert sum(path.stat().st_size for path in files) < 4_000_000
    for path in [*scans, *masks]:
        gzip.decompress(path.read_bytes())  # raises if a file was cut or its checksum fails


def test_sample_is_taken_from_openkbp_unchanged(sample_root, openkbp):
    for path in sample_root.rglob("*.nii.gz"):
        assert path.read_bytes() == (openkbp / path.relative_to(sample_root)).read_bytes()


def test_small_store_holds_every_structure(small_store):
    assert len(small_store.keys) == 12
    drawn = sum(small_store.voxels[key].any(axis=0).astype(int) for key in small_store.keys)
    assert (drawn >= 4).all()
    assert (drawn <= small_store.annotated.sum(axis=0)).all()
