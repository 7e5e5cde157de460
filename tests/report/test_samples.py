"""The samples' figure, on the twelve real patients of the carried sample."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nasoseg.data.resample import resample_image, resample_mask, stored_grid, to_source
from nasoseg.data.store import Patient, Store, pack_planes, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP
from nasoseg.report.sample_patients import find_predictions, read_patient
from nasoseg.report.samples import Pick, pick_patients, samples_figure
from nasoseg.volumes.nifti import write_volume
from nasoseg.volumes.volume import Geometry, from_axial

KEY = "pt_100"  # has no PTV56 and no PTV63 file
NAMES = [structure.name for structure in OPENKBP]


def predict(store: Store, key: str, folder: Path, *, shift: int = 0) -> Path:
    """Write the truth, shifted along its columns, as `nasoseg predict` writes masks."""
    planes = np.roll(store.read(key, "labels", slice(None)), shift, axis=2)
    on_source = to_source(planes, store.geometry(key), store.source(key))
    (folder / key).mkdir(parents=True)
    for bit, name in enumerate(store.names):
        write_volume(folder / key / f"{name}.nii.gz", (on_source >> bit) & 1 != 0, store.source(key))
    return folder / key


@pytest.fixture(scope="module")
def folders(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    root = tmp_path_factory.mktemp("predictions")
    return {
        "truthful": {KEY: predict(small_store, KEY, root / "a")},
        "shifted_by_2": {KEY: predict(small_store, KEY, root / "b", shift=2)},
    }


def test_best_median_and_worst_are_picked_among_those_that_can_be():
    scores = pd.Series({"a": 0.1, "b": 0.5, "c": 0.9, "d": 0.3, "e": 0.7, "x": 1.0, "y": float("nan")})
    picks = pick_patients(scores, ["e", "d", "c", "b", "a", "y", "unscored"])
    assert [(pick.patient, pick.rule, pick.score) for pick in picks] == [
        ("c", "best", 0.9),
        ("b", "median", 0.5),
        ("a", "worst", 0.1),
    ]


@pytest.mark.parametrize(("patients", "rules"), [(["a", "b"], ["best", "worst"]), (["a"], ["best"])])
def test_few_patients_are_picked_once_each(patients, rules):
    picks = pick_patients(pd.Series({"a": 0.1, "b": 0.5}), patients)
    assert [pick.rule for pick in picks] == rules
    assert len({pick.patient for pick in picks}) == len(picks)


def test_of_four_the_lower_median_is_picked_and_equal_scores_go_by_the_key():
    assert pick_patients(pd.Series({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}), list("dcba"))[1].patient == "b"


def test_nobody_to_pick_is_an_error():
    with pytest.raises(NasosegError, match=r"no patient has both a DSC .* run `nasoseg predict`"):
        pick_patients(pd.Series({"a": 0.5}), ["b"])


def test_the_slice_has_the_most_annotated_structures_then_the_most_voxels(small_store, folders):
    shown = read_patient(small_store, KEY, predictions=folders, structures=NAMES)
    drawn = np.flatnonzero(small_store.is_annotated(KEY))
    voxels = small_store.voxels[KEY][:, drawn].astype(int)
    present = (voxels > 0).sum(1)
    assert present[shown.slice] == present.max()
    assert voxels[shown.slice].sum() == voxels[present == present.max()].sum(1).max()


def test_contours_are_those_of_the_slice_and_what_was_not_annotated_is_left_out(small_store, folders):
    shown = read_patient(small_store, KEY, predictions=folders, structures=NAMES)
    planes = small_store.read(KEY, "labels", shown.slice)
    annotated = [name for name, drawn in zip(NAMES, small_store.is_annotated(KEY), strict=True) if drawn]
    assert list(shown.truth.masks) == annotated == list(shown.predicted["truthful"].masks)
    assert shown.not_annotated == tuple(name for name in NAMES if name not in annotated)
    for name in annotated:
        truth = planes >> NAMES.index(name) & 1 != 0
        np.testing.assert_array_equal(shown.truth.masks[name], truth)
        np.testing.assert_array_equal(shown.predicted["truthful"].masks[name], truth)
        np.testing.assert_array_equal(shown.predicted["shifted_by_2"].masks[name], np.roll(truth, 2, axis=1))


def test_what_is_shown_holds_all_contours_with_a_margin(small_store, folders):
    shown = read_patient(small_store, KEY, predictions=folders, structures=NAMES)
    left, right, top, bottom = shown.box_mm
    columns = np.flatnonzero(np.any([mask.any(0) for mask in shown.predicted["shifted_by_2"].masks.values()], axis=0))
    spacing = small_store.geometry(KEY).spacing_mm[2]
    assert left < columns[0] * spacing
    assert columns[-1] * spacing < right
    assert (bottom - top) < shown.image.shape[0] * shown.spacing_mm[0]  # the air is cut off
    assert shown.aspect == pytest.approx((bottom - top) / (right - left))


def test_a_prediction_on_another_grid_than_the_store_is_drawn_at_its_place(tmp_path, small_store):
    """A scan with its axes in another order, stored with pixels half as large and cropped."""
    axial = small_store.geometry(KEY)
    stored = stored_grid(axial, pixel_mm=float(axial.spacing_mm[1]) / 2, size=200)
    box = np.zeros(axial.shape, bool)
    box[2:5, 50:60, 70:76] = True
    image = resample_image(small_store.read(KEY, "image", slice(None)), axial, stored, outside=-1024)
    planes = pack_planes({0: resample_mask(box, axial, stored)}, shape=stored.shape, structures=1)
    flipped = axial.affine_lps.copy()[:, [2, 0, 1, 3]]
    flipped[:3, 3] += flipped[:3, 1] * (axial.shape[0] - 1)
    flipped[:3, 1] *= -1
    source = Geometry((axial.shape[2], axial.shape[0], axial.shape[1]), flipped)
    patient = Patient("p", image, planes, np.array([True]), stored.affine_lps, source)
    write_store(tmp_path / "store.h5", [patient], OPENKBP[:1])
    (tmp_path / "p").mkdir()
    write_volume(tmp_path / "p" / "Brainstem.nii.gz", from_axial(box, source), source)
    predictions = {"m": {"p": tmp_path / "p"}}
    shown = read_patient(Store(tmp_path / "store.h5"), "p", predictions=predictions, structures=["Brainstem"])
    places = []
    for contours in (shown.truth, shown.predicted["m"]):
        rows, columns = np.nonzero(contours.masks["Brainstem"])
        places.append((contours.rows_mm[rows].mean(), contours.columns_mm[columns].mean()))
    assert shown.predicted["m"].masks["Brainstem"].shape == (128, 128)
    assert shown.truth.masks["Brainstem"].shape == (200, 200)
    np.testing.assert_allclose(places[0], places[1], atol=0.1)  # mm; a shift of half a pixel would be 1 mm and more


def test_the_figure_has_a_panel_per_patient_and_method_with_names_sides_scale_and_scores(small_store, folders):
    scores = {"truthful": pd.Series({KEY: 1.0}), "shifted_by_2": pd.Series({KEY: 0.456})}
    picks = [Pick(KEY, "best", 0.456), Pick(KEY, "worst", 0.456)]
    drawn = samples_figure(small_store, folders, picks=picks, scores=scores, reference="shifted_by_2")
    assert len(drawn.figure.axes) == 6
    assert [axes.get_title() for axes in drawn.figure.axes] == ["CT with truth", "truthful", "shifted_by_2", "", "", ""]
    truth, _, shifted = ([text.get_text() for text in axes.texts] for axes in drawn.figure.axes[:3])
    assert truth == ["R", "L", "5 cm"]
    right, left, _ = drawn.figure.axes[0].texts
    assert right.get_position()[0] < 0.5 < left.get_position()[0]  # columns run to Left, so that R is at their start
    assert drawn.figure.axes[0].get_xlim()[0] < drawn.figure.axes[0].get_xlim()[1]
    assert drawn.figure.axes[0].get_ylim()[0] > drawn.figure.axes[0].get_ylim()[1]  # rows run to Posterior, downwards
    assert shifted == ["0.46"]
    place = drawn.figure.axes[0].get_position()
    width, height = drawn.figure.get_size_inches()
    box = [abs(np.subtract(*limits)) for limits in (drawn.figure.axes[0].get_ylim(), drawn.figure.axes[0].get_xlim())]
    assert place.height * height / (place.width * width) == pytest.approx(box[0] / box[1])  # pixels keep their shape
    assert "by the mean DSC that shifted_by_2 reaches" in drawn.caption
    assert f"{KEY} (best, 0.456)" in drawn.caption
    assert "Not annotated, and therefore not drawn for any method: pt_100: PTV56, PTV63" in drawn.caption
    legend = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert "PTV56" not in legend
    assert "PTV70" in legend


def test_names_of_low_rows_do_not_run_into_each_other(small_store, folders):
    """Many panels make low rows; a name as long as two of them is broken."""
    many = {f"m{i}": folders["truthful"] for i in range(5)}
    picks = [Pick(KEY, f"the {which} of all that were tested", 1.0) for which in ("best", "median", "worst")]
    figure = samples_figure(small_store, many, picks=picks, structures=["Mandible"]).figure
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert len(boxes) == 3
    for upper, lower in itertools.pairwise(boxes):
        assert upper.y0 > lower.y1
    assert all(box.x0 >= 0 and box.x1 <= figure.axes[0].get_window_extent().x0 for box in boxes)


def test_many_methods_make_several_lines_of_a_row(small_store, folders):
    many = {f"m{i}": folders["truthful"] for i in range(12)}
    figure = samples_figure(small_store, many, picks=[Pick(KEY, "best", 1.0)], structures=["Mandible"]).figure
    tops = sorted({round(axes.get_position().y1, 6) for axes in figure.axes})
    assert len(figure.axes) == 13
    assert len(tops) == 2
    assert all(axes.get_title() for axes in figure.axes)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(190)


def test_a_patient_whose_prediction_was_interrupted_is_passed_over(tmp_path, small_store):
    predict(small_store, KEY, tmp_path)
    (tmp_path / "pt_104").mkdir()
    (tmp_path / "pt_104" / "Larynx.nii.gz").touch()
    assert find_predictions([tmp_path], NAMES) == {KEY: tmp_path / KEY}


def test_a_patient_that_was_predicted_in_two_folds_is_an_error(tmp_path):
    for fold in "01":
        (tmp_path / fold / "p").mkdir(parents=True)
        (tmp_path / fold / "p" / "Larynx.nii.gz").touch()
    with pytest.raises(NasosegError, match=r"patient p was predicted in .*/0/p too"):
        find_predictions([tmp_path / "0", tmp_path / "1"], ["Larynx"])


def test_a_patient_without_predictions_is_an_error(small_store, folders):
    with pytest.raises(NasosegError, match=r"method 'truthful' has none of patient pt_104: run `nasoseg predict`"):
        samples_figure(small_store, folders, picks=[Pick("pt_104", "best", 1.0)])


def test_a_patient_that_the_store_lacks_is_an_error(small_store, folders):
    with pytest.raises(NasosegError, match=r"has no patient 'nobody'"):
        samples_figure(small_store, folders, picks=[Pick("nobody", "best", 1.0)])


def test_no_pick_is_an_error(small_store, folders):
    with pytest.raises(NasosegError, match=r"picks: found no patient"):
        samples_figure(small_store, folders, picks=[])


def test_a_missing_mask_is_an_error(tmp_path, small_store):
    folder = predict(small_store, KEY, tmp_path)
    (folder / "Larynx.nii.gz").unlink()
    with pytest.raises(NasosegError, match=r"pt_100: has no mask of Larynx: expected Larynx\.nii\.gz"):
        samples_figure(small_store, {"m": {KEY: folder}}, picks=[Pick(KEY, "best", 1.0)])


def test_a_mask_on_another_grid_is_an_error(tmp_path, small_store):
    folder = predict(small_store, KEY, tmp_path)
    small = Geometry((4, 4, 4), np.eye(4))
    write_volume(folder / "Larynx.nii.gz", np.zeros((4, 4, 4), bool), small)
    with pytest.raises(NasosegError, match=r"Larynx\.nii\.gz: its grid \(4, 4, 4\) is not the one"):
        samples_figure(small_store, {"m": {KEY: folder}}, picks=[Pick(KEY, "best", 1.0)])
