"""nnU-Net's probabilities read back: with the truth in their place every metric is perfect; what is wrong is told."""

import numpy as np
import pytest

from nasoseg.comparison.nnunet_dataset import Combinations, case_names, find_combinations
from nasoseg.comparison.nnunet_groups import make_groups
from nasoseg.comparison.nnunet_scores import Predicted, score_predictions
from nasoseg.data.splits import make_split
from nasoseg.data.store import Patient, Store, pack_planes, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP, Structure
from nasoseg.volumes.nifti import read_label_map
from nasoseg.volumes.volume import Geometry


def truth_of(store: Store, key: str, names) -> np.ndarray:
    planes = store.read(key, "labels", slice(None)).astype(np.int64)
    return np.array([(planes >> store.names.index(name)) & 1 for name in names], bool)


@pytest.fixture(scope="module")
def oracle(small_store, tmp_path_factory):
    """Two groups of fold 0 with the truth of the test patients as probabilities, encoded and decoded by region."""
    split = make_split(small_store, folds=4)
    tested = list(split.part(0, "test"))
    grouping = make_groups(
        small_store, split, fold=0, labels=small_store.names, by_hand=[small_store.names[:5], small_store.names[5:]]
    )
    predicted = []
    for group in grouping.groups:
        of = Predicted(group, find_combinations(small_store, group), tmp_path_factory.mktemp(group.name))
        for key in tested:
            truth = truth_of(small_store, key, group.structures).astype(np.float32)
            if not of.combinations.overlap:
                truth = np.concatenate([1 - truth.max(axis=0, keepdims=True), truth])
            np.savez(of.folder / f"{case_names(small_store)[key]}.npz", probabilities=0.9 * truth + 0.05)
        predicted.append(of)
    return tested, predicted


def test_the_truth_scores_one_everywhere(oracle, small_store, tmp_path):
    tested, predicted = oracle
    assert {of.combinations.overlap for of in predicted} == {False, True}  # organs alone, and targets over the mandible
    scores = score_predictions(small_store, tested, predicted, labels=small_store.names, masks_to=tmp_path)
    annotated = np.array([small_store.is_annotated(key) for key in tested])
    present = np.array([small_store.voxels[key].any(axis=0) for key in tested])
    np.testing.assert_array_equal(scores.annotated.numpy(), annotated)
    for metric in ("dsc", "jsc", "auc"):
        np.testing.assert_array_equal(scores.volume[metric].numpy()[present], 1.0)
    assert np.isnan(scores.volume["dsc"].numpy()[~present]).all()
    for metric, perfect in (("hd95", 0.0), ("assd", 0.0), ("nsd", 1.0)):
        np.testing.assert_array_equal(scores.volume[metric].numpy()[present], perfect)
    assert len(scores.slice_keys) == sum(len(small_store.voxels[key]) for key in tested)
    for key in tested:
        for name, mask in zip(small_store.names, truth_of(small_store, key, small_store.names), strict=True):
            written = read_label_map(tmp_path / key / f"{name}.nii.gz")
            assert written.geometry.matches(small_store.source(key), tolerance_mm=1e-3)
            np.testing.assert_array_equal(written.axial().array, mask)


def test_a_wrong_prediction_scores_what_counting_gives(oracle, small_store, tmp_path):
    """A prediction shifted by a column: the DSC counted with NumPy, and far from 1."""
    tested, predicted = oracle
    regions = next(of for of in predicted if of.combinations.overlap)
    shifted = Predicted(regions.group, regions.combinations, tmp_path)
    key, name = tested[0], "Mandible"
    for other in tested:
        file = f"{case_names(small_store)[other]}.npz"
        probabilities = np.load(regions.folder / file)["probabilities"]
        np.savez(tmp_path / file, probabilities=np.roll(probabilities, 2, axis=3))
    scores = score_predictions(small_store, tested, [shifted], labels=[name], masks_to=tmp_path / "masks")
    truth = truth_of(small_store, key, [name])[0]
    moved = np.roll(truth, 2, axis=2)
    expected = 2 * (truth & moved).sum() / (truth.sum() + moved.sum())
    assert float(scores.volume["dsc"][0, 0]) == pytest.approx(expected, abs=1e-12)
    assert expected < 0.8


def test_plain_labels_are_decided_by_the_largest_and_masks_go_to_the_source_grid(tmp_path):
    """One pixel of three structures apart, by hand; the stored grid is turned and cropped against the source's."""
    shape = (1, 2, 3)
    image = np.zeros(shape, np.int16)
    labels = pack_planes({0: np.array([[[1, 0, 0], [0, 0, 0]]])}, shape=shape, structures=2)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], range(4)] = 1  # slices to Superior, rows to Posterior, columns to Left, 1 mm
    source_affine = np.diag([-1.0, 1.0, 1.0, 1.0])  # columns to Right, rows to Posterior, slices to Superior
    source_affine[:3, 3] = [3.0, 0.0, 0.0]
    source = Geometry((4, 2, 1), source_affine)  # a column more, at the Left
    write_store(tmp_path / "one.h5", [Patient("p", image, labels, np.ones(2, bool), affine, source)], OPENKBP[:2])
    store = Store(tmp_path / "one.h5")
    group = make_groups_of(store)
    apart = Combinations(tuple(store.names), np.array([0, 1, 2], np.uint64))
    probabilities = np.zeros((3, *shape), np.float32)
    probabilities[:, 0, 0, 0] = 0.3, 0.4, 0.3  # below one half, and yet the largest
    probabilities[:, 0, 1, 2] = 0.2, 0.1, 0.7
    probabilities[0, probabilities.sum(axis=0) == 0] = 1
    np.savez(tmp_path / "case0000.npz", probabilities=probabilities)
    scores = score_predictions(
        store, ["p"], [Predicted(group, apart, tmp_path)], labels=store.names, masks_to=tmp_path / "masks"
    )
    assert scores.volume["dsc"].tolist() == [[1.0, 0.0]]
    first, second = (read_label_map(tmp_path / "masks" / "p" / f"{name}.nii.gz").array for name in store.names)
    assert np.argwhere(first).tolist() == [[3, 0, 0]]
    assert np.argwhere(second).tolist() == [[1, 1, 0]]


def make_groups_of(store: Store):
    from nasoseg.comparison.nnunet_groups import Group

    return Group(1, tuple(store.names), tuple(store.keys), (), ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such prediction"),
        (b"PK\x03\x04 cut short", "cannot be read"),
        ({"softmax": np.zeros((2, 1, 2, 2), np.float32)}, "cannot be read"),
        ({"probabilities": np.zeros((2, 1, 2, 3), np.float32)}, r"expected floats of shape \(2, 1, 2, 2\)"),
        ({"probabilities": np.zeros((2, 1, 2, 2), np.int64)}, "int64 of shape"),
    ],
)
def test_what_is_missing_damaged_or_of_another_run_is_told(tmp_path, content, words):
    grid = Geometry((1, 2, 2), np.eye(4)[[2, 1, 0, 3]])
    patient = Patient(
        "p", np.zeros(grid.shape, np.int16), np.zeros(grid.shape, np.uint16), np.ones(1, bool), grid.affine_lps, grid
    )
    write_store(tmp_path / "one.h5", [patient], [Structure("A", "A")])
    store = Store(tmp_path / "one.h5")
    path = tmp_path / "case0000.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    of = Predicted(make_groups_of(store), Combinations(("A",), np.array([0, 1], np.uint64)), tmp_path)
    with pytest.raises(NasosegError, match=words) as told:
        score_predictions(store, ["p"], [of], labels=["A"], masks_to=tmp_path / "masks")
    assert "case0000.npz" in str(told.value)
