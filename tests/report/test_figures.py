"""Figures are tested by what they say: numbers, names, counts and marks; not by pixels."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from benchmark_rows import of_values
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch

from nasoseg.errors import NasosegError
from nasoseg.evaluation import compare, leakage
from nasoseg.files import whole_file
from nasoseg.report.boxes import boxes_figure, structures_figure
from nasoseg.report.figure_style import method_looks, structure_looks, wrapped
from nasoseg.report.folds import folds_figure
from nasoseg.report.per_unit import in_label_order, read_protocols
from nasoseg.report.protocols import has_both, protocols_figure, protocols_table

MINUS = "\N{MINUS SIGN}"
RNG = np.random.default_rng(0)
LOW, HIGH = (np.linspace(start, start + 0.2, 12) for start in (0.3, 0.6))


@pytest.fixture
def results() -> pd.DataFrame:
    """Under clean, unet beats fcn8 on the larynx of 12 patients, not on the eye; fold 1 lacks fcn8, as paper does."""
    eyes = list(RNG.normal(0.7, 0.01, 12))
    fold_0 = of_values(
        {"unet": {"Larynx": HIGH, "Eye_L": eyes}, "fcn8": {"Larynx": LOW, "Eye_L": [*eyes[:6][::-1], *eyes[6:]]}}
    )
    fold_1 = of_values({"unet": {"Larynx": [0.2, 0.4]}}, fold="1")
    fold_1["patient"] = fold_1["patient"] + "_of_1"
    paper = of_values({"unet": {"Larynx": HIGH + 0.1, "Eye_L": eyes}}, protocol="paper")
    return pd.concat([fold_0, fold_1, paper], ignore_index=True)


def boxes_in(axes: Axes) -> int:
    return sum(isinstance(patch, PathPatch) for patch in axes.patches)


def texts_in(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_fold_curves_have_the_headline_of_every_fold(results):
    drawn = folds_figure(read_protocols(results, organs=["Larynx"]))
    clean, paper = drawn.figure.axes
    assert [axes.get_title() for axes in (clean, paper)] == ["protocol clean", "protocol paper"]
    unet, fcn8 = (line.get_ydata() for line in clean.lines)
    np.testing.assert_allclose(unet, [0.7, 0.3])  # of 0.6 ... 0.8, and of 0.2 and 0.4
    np.testing.assert_allclose(fcn8, [0.4, np.nan])
    assert [tick.get_text() for tick in clean.get_xticklabels()] == ["0", "1"]
    assert [text.get_text() for text in drawn.figure.legends[0].get_texts()] == ["unet", "fcn8"]
    assert "fcn8 has fold 0 only" in drawn.caption


def test_the_markers_of_one_fold_do_not_hide_each_other():
    one = of_values({"a": {"Eye": [0.5]}, "b": {"Eye": [0.5]}})
    first, second = folds_figure(read_protocols(one)).figure.axes[0].lines
    assert first.get_xdata()[0] < second.get_xdata()[0]


@pytest.mark.parametrize(("apart", "span"), [(0.002, 0.1), (0.5, 0.55)])
def test_a_small_difference_between_folds_looks_small(apart, span):
    results = of_values({"a": {"Eye": [0.3]}, "b": {"Eye": [0.3 + apart]}})
    low, high = folds_figure(read_protocols(results)).figure.axes[0].get_ylim()
    assert high - low == pytest.approx(span)
    assert (low + high) / 2 == pytest.approx(0.3 + apart / 2)


def test_a_box_per_method_over_patients_with_their_count_and_the_folds_as_points(results):
    drawn = boxes_figure(read_protocols(results))
    clean, paper = drawn.figure.axes
    assert (boxes_in(clean), boxes_in(paper)) == (2, 1)
    assert texts_in(clean) == ["14", "12", "n"]
    assert texts_in(paper) == ["12", "n"]
    assert [tick.get_text() for tick in clean.get_yticklabels()] == ["unet", "fcn8"]
    diamonds = [line.get_xdata() for line in clean.lines if line.get_marker() == "D"]
    assert [len(points) for points in diamonds] == [2, 1]
    assert diamonds[0][1] == pytest.approx(0.3)
    assert "patients are boxed" in drawn.caption


def test_a_median_is_that_of_the_patients_means(results):
    axes = boxes_figure(read_protocols(results, organs=["Larynx"])).figure.axes[0]
    medians = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.2]
    np.testing.assert_allclose(medians[0], np.median([*HIGH, 0.2, 0.4]))


def test_structures_have_boxes_counts_and_marks_of_significance(results):
    (clean, _), statistics = read_protocols(results), compare(results, reference="unet", resamples=50)
    drawn = structures_figure(clean, statistics, reference="unet")
    larynx, eyes = (axes for axes in drawn.figure.axes if axes.get_visible())
    assert (larynx.get_title(), eyes.get_title()) == ("Larynx", "Eye_L")
    assert (boxes_in(larynx), boxes_in(eyes)) == (2, 2)
    assert texts_in(larynx) == ["14", "12 ↓***", "n"]  # 2 / 2**12, twice by Holm
    assert texts_in(eyes) == ["12", "12", "n"]
    assert "corrected by Holm's method" in drawn.caption


def test_a_method_without_a_structure_has_no_box_and_counts_none():
    results = of_values({"a": {"Eye": [0.5, 0.6], "Larynx": [0.4, 0.5]}, "b": {"Eye": [0.5, 0.6]}})
    drawn = structures_figure(read_protocols(results)[0], None, reference="a")
    larynx = drawn.figure.axes[1]
    assert boxes_in(larynx) == 1
    assert texts_in(larynx) == ["2", "0", "n"]
    assert "marks" not in drawn.caption


def test_a_structure_without_any_value_has_no_panel():
    results = of_values({"a": {"Eye": [0.5, 0.6], "Larynx": [float("nan"), float("nan")]}})
    figure = structures_figure(read_protocols(results)[0], None, reference="a").figure
    assert [axes.get_title() for axes in figure.axes] == ["Eye"]
    nothing = of_values({"a": {"Larynx": [float("nan")]}})
    with pytest.raises(NasosegError, match=r"protocol clean: no patient has a DSC of any structure"):
        structures_figure(read_protocols(nothing)[0], None, reference="a")


def test_protocols_stand_side_by_side_with_their_difference(results):
    compared = leakage(results, organs=["Larynx"], resamples=50)
    drawn = protocols_figure(compared, headline="organs")
    clean = np.mean([*HIGH, 0.2, 0.4])
    axes = drawn.figure.axes[0]
    points = {line.get_label(): line.get_xdata()[0] for line in axes.lines if line.get_marker() in "os"}
    assert points == pytest.approx({"protocol clean": clean, "protocol paper": np.mean(HIGH) + 0.1})
    assert texts_in(axes)[0].startswith(f"+{0.8 - clean:.3f} [")
    assert "left out: fcn8" in drawn.caption
    table = protocols_table(compared, headline="organs")
    assert list(table.cells["Model"]) == ["unet"]
    assert table.cells[f"paper {MINUS} clean"].iloc[0].startswith(f"+{0.8 - clean:.3f} [")
    assert table.cells["patients, clean"].iloc[0] == "14"


def test_no_method_under_both_protocols_is_an_error(results):
    kept = results[(results["protocol"] == "paper") | (results["method"] == "fcn8")]
    compared = leakage(kept, resamples=50)
    assert not has_both(compared, "all")
    with pytest.raises(NasosegError, match=r"leakage: no method has results of both protocols"):
        protocols_figure(compared, headline="all")


def test_no_organ_and_an_unknown_one_are_errors(results):
    with pytest.raises(NasosegError, match=r"organs: found an empty list"):
        read_protocols(results, organs=[])
    with pytest.raises(NasosegError, match=r"no structure 'Larinx': did you mean 'Larynx'"):
        read_protocols(results, organs=["Larinx"])


def test_structures_keep_the_order_of_the_labels_that_pooled_values_show():
    patient = of_values({"b": {"Larynx": [0.5], "Eye": [None, 0.5]}, "a": {"Larynx": [0.5]}})
    pooled = of_values({"b": {"Eye": [0.5], "Larynx": [0.5]}}, averaging="pooled").assign(patient="")
    ordered = in_label_order(pd.concat([patient, pooled]))
    assert list(dict.fromkeys(ordered["structure"])) == ["Eye", "Larynx"]
    assert list(dict.fromkeys(ordered["method"])) == ["b", "a"]  # as they come


def test_folds_are_in_the_order_of_numbers():
    folds = [of_values({"a": {"Eye": [0.5]}}, fold=fold) for fold in ("10", "9", "0")]
    assert read_protocols(pd.concat(folds))[0].folds == ("0", "9", "10")


def test_the_same_figure_gives_the_same_bytes_and_fonts_are_large_enough(results, tmp_path):
    first, second = (boxes_figure(read_protocols(results)).write(tmp_path / name) for name in ("first", "second"))
    assert [path.suffix for path in first] == [".pdf", ".png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    axes = boxes_figure(read_protocols(results)).figure.axes[0]
    texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.title]
    assert min(text.get_fontsize() for text in texts) >= 7


def test_the_users_settings_of_matplotlib_are_neither_used_nor_changed(results, tmp_path):
    plain = folds_figure(read_protocols(results)).write(tmp_path / "plain")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "text.usetex": True}):
        before = dict(mpl.rcParams)
        odd = folds_figure(read_protocols(results)).write(tmp_path / "odd")
        assert dict(mpl.rcParams) == before
    assert plain[1].read_bytes() == odd[1].read_bytes()


def test_a_name_with_a_dollar_is_no_formula(tmp_path):
    folds_figure(read_protocols(of_values({"a$_b$": {"Eye": [0.5]}}))).write(tmp_path / "x")


def test_a_folder_that_is_not_there_is_an_error(results, tmp_path):
    with pytest.raises(NasosegError, match=r"none/x\.pdf: could not be written"):
        folds_figure(read_protocols(results)).write(tmp_path / "none" / "x")


def test_looks_differ_between_methods_and_between_structures():
    methods = method_looks([f"m{i}" for i in range(12)]).values()
    assert len({(look.colour, look.line) for look in methods}) == 12
    assert len({look.marker for look in methods}) == 12
    looks = structure_looks(["PTV70", "Brainstem", *(f"s{i}" for i in range(26))])
    assert len(set(looks.values())) == 28
    assert looks["Brainstem"] == ("#0072B2", "solid")  # its colour in nasoseg.labels
    assert next(iter(looks)) == "PTV70"


def test_long_names_are_broken_then_shortened_in_the_middle():
    assert wrapped("unet", width_mm=30) == "unet"
    assert wrapped("unetplusplus_resnet34", width_mm=24) == "unetplusplus_\nresnet34"
    one, other = (wrapped(f"averyveryverylongname{i}", width_mm=15, lines=1) for i in (1, 2))
    assert len(one) == len(other) == 10
    assert one != other


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_is_full_is_said(tmp_path, results):
    """matplotlib, writing a PDF itself, ended in an AttributeError."""
    drawn = folds_figure(read_protocols(results))
    temporary = whole_file_name(tmp_path / "fig4.pdf")
    temporary.symlink_to("/dev/full")
    with pytest.raises(NasosegError, match=r"fig4\.pdf: could not be written \(.*No space left on device"):
        drawn.write(tmp_path / "fig4")
    assert not (tmp_path / "fig4.pdf").exists()


def whole_file_name(path: Path) -> Path:
    with whole_file(path) as temporary:
        temporary.write_bytes(b"")
    path.unlink()
    return temporary
