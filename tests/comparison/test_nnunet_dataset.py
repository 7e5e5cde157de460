"""The raw data set: integers for combinations, the grid as SimpleITK reads it, and who is in which folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from generated_grids import grids, numbered
from hypothesis import given, settings

from nasoseg.comparison.nnunet_dataset import Combinations, case_names, find_combinations, itk_grid, write_dataset
from nasoseg.comparison.nnunet_groups import make_groups
from nasoseg.data.prepare import prepare_nifti
from nasoseg.data.splits import make_split
from nasoseg.data.store import Store
from nasoseg.data.transforms import select_planes
from nasoseg.errors import NasosegError
from nasoseg.volumes.nifti import write_volume
from nasoseg.volumes.volume import Geometry

OVERLAPPING = Combinations(("A", "B", "C"), np.array([0, 1, 2, 4, 0b011, 0b111], np.uint64))


def test_every_combination_is_an_integer_and_every_structure_a_region():
    planes = np.array([[0b000, 0b001, 0b010], [0b100, 0b011, 0b111]], np.uint16)
    np.testing.assert_array_equal(OVERLAPPING.encode(planes), [[0, 1, 2], [3, 4, 5]])
    assert OVERLAPPING.labels() == {"background": 0, "A": [1, 4, 5], "B": [2, 4, 5], "C": [3, 5]}
    assert OVERLAPPING.channels == 3


def test_without_overlap_labels_are_plain():
    apart = Combinations(("A", "B"), np.array([0, 1, 2], np.uint64))
    assert not apart.overlap
    assert apart.labels() == {"background": 0, "A": 1, "B": 2}
    assert apart.channels == 3  # a softmax has one for the background


def test_many_combinations_need_wider_integers():
    planes = np.array([0, *(1 << i for i in range(9)), *(i for i in range(3, 512) if i.bit_count() > 1)], np.uint64)
    many = Combinations(tuple("ABCDEFGHI"), planes)
    codes = many.encode(np.arange(512, dtype=np.uint16))
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(many.planes[codes], np.arange(512))


@pytest.fixture(scope="module")
def exported(small_store: Store, tmp_path_factory: pytest.TempPathFactory):
    """The first group of fold 0 of the small store, exported."""
    split = make_split(small_store, folds=4)
    group = make_groups(small_store, split, fold=0, labels=small_store.names).groups[0]
    combinations = find_combinations(small_store, group)
    folder = tmp_path_factory.mktemp("raw") / group.dataset
    images, tested = folder.parent / "images", list(split.part(0, "test"))
    write_dataset(small_store, group, combinations, folder, images=images, tested=tested)
    return folder, group, combinations, tested


def cases_in(folder: Path) -> set[str]:
    return {path.name.removesuffix(".nii.gz").partition("_")[0] for path in folder.iterdir()}


def test_training_and_validation_patients_are_labelled_and_test_patients_are_apart(exported, small_store):
    folder, group, combinations, tested = exported
    cases = case_names(small_store)
    learned = {cases[key] for key in group.learned_from}
    assert cases_in(folder / "imagesTr") == cases_in(folder / "labelsTr") == learned
    assert cases_in(folder / "imagesTs") == {cases[key] for key in tested}
    (split,) = json.loads((folder / "splits_final.json").read_text())
    assert set(split["train"]) == {cases[key] for key in group.train}
    assert set(split["val"]) == {cases[key] for key in group.validation}
    described = json.loads((folder / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "CT"}
    assert described["numTraining"] == len(learned)
    assert list(described["labels"]) == ["background", *group.structures]
    values = {v for value in described["labels"].values() for v in np.atleast_1d(value)}
    assert values == set(range(len(combinations.planes)))  # nnU-Net wants them without a gap
    assert combinations.overlap  # the targets of the sample lie over its organs
    assert described["regions_class_order"] == list(range(1, len(group.structures) + 1))


def test_read_as_any_nnunet_data_set_it_gives_the_store_again(exported, small_store, tmp_path):
    """`nasoseg prepare` reads nnU-Net's layout, regions included: voxels, structures and places come back."""
    folder, group, _, _ = exported
    prepare_nifti(folder, tmp_path / "again.h5", structures=list(group.structures), workers=1)
    cases = case_names(small_store)
    positions = [small_store.names.index(name) for name in group.structures]
    with Store(tmp_path / "again.h5") as again:
        assert again.keys == sorted(cases[key] for key in group.learned_from)
        for key in group.learned_from:
            patient, expected = again.patient(cases[key]), small_store.patient(key)
            np.testing.assert_array_equal(patient.image, expected.image)
            np.testing.assert_array_equal(patient.labels, select_planes(expected.labels, positions))
            assert patient.geometry.matches(expected.geometry, tolerance_mm=1e-3)


def test_simpleitk_hands_over_slices_rows_and_columns(exported, small_store):
    """As nnU-Net reads: SimpleITK's array, and its spacing turned round."""
    folder, group, combinations, _ = exported
    key = group.train[0]
    case = case_names(small_store)[key]
    image = SimpleITK.ReadImage(folder / "imagesTr" / f"{case}_0000.nii.gz")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), small_store.read(key, "image", slice(None)))
    np.testing.assert_allclose(image.GetSpacing()[::-1], small_store.geometry(key).spacing_mm, rtol=1e-6)
    codes = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(folder / "labelsTr" / f"{case}.nii.gz"))
    positions = [small_store.names.index(name) for name in group.structures]
    planes = select_planes(small_store.read(key, "labels", slice(None)), positions)
    np.testing.assert_array_equal(combinations.planes[codes], planes)


def test_an_export_goes_on_and_shares_images(exported, small_store):
    folder, group, combinations, tested = exported
    case = case_names(small_store)[group.train[0]]
    lost, kept = folder / "labelsTr" / f"{case}.nii.gz", folder / "imagesTr" / f"{case}_0000.nii.gz"
    before = kept.stat()
    assert before.st_nlink > 1
    lost.unlink()
    write_dataset(small_store, group, combinations, folder, images=folder.parent / "images", tested=tested)
    assert lost.is_file()
    assert kept.stat().st_mtime_ns == before.st_mtime_ns


@settings(max_examples=15, deadline=None)
@given(grid=grids(smallest=2, largest=4))
def test_simpleitk_reads_every_stored_grid(grid, tmp_path_factory):
    """Oblique, anisotropic, and sheared too, which SimpleITK refuses in NIfTI."""
    stored = grid.axial()
    sheared = stored.affine_lps.copy()
    sheared[:3, 0] += 0.2 * sheared[:3, 1]
    for affine in (stored.affine_lps, sheared):
        geometry = Geometry(stored.shape, affine)
        path = tmp_path_factory.mktemp("grid") / "image.nii.gz"
        write_volume(path, numbered(stored.shape).transpose(2, 1, 0), itk_grid(geometry))
        image = SimpleITK.ReadImage(path)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), numbered(stored.shape))
        np.testing.assert_allclose(image.GetSpacing()[::-1], geometry.spacing_mm, rtol=1e-4)
    np.testing.assert_allclose(itk_grid(stored).affine_lps[:3, 2::-1], stored.affine_lps[:3, :3], atol=1e-6)


def test_a_name_that_nnunet_keeps_for_itself_is_refused(small_store, exported, tmp_path):
    _, group, combinations, _ = exported
    reserved = type(group)(1, ("background",), group.train, (), ())
    with pytest.raises(NasosegError, match="structure 'background': nnU-Net keeps that name"):
        write_dataset(small_store, reserved, combinations, tmp_path, images=tmp_path, tested=[])
