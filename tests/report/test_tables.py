import pandas as pd
import pytest
from benchmark_rows import as_table, of_values, row

from nasoseg.errors import NasosegError
from nasoseg.report.findings import coverage
from nasoseg.report.per_unit import read_protocols
from nasoseg.report.tables import structures_table, summarise_all, table_1

DASH = "\N{EN DASH}"


def summary_of(table: pd.DataFrame, **more: object) -> pd.DataFrame:
    return summarise_all(table, resamples=50, **more)


@pytest.fixture
def results() -> pd.DataFrame:
    """Two methods, three patients, a structure that one patient lacks; by hand: a 0.75, b 0.7."""
    volume = of_values(
        {
            "a_1": {"Larynx": [0.5, 0.6, 0.7], "Eye": [0.9, 0.9, None]},  # 0.6 and 0.9
            "b": {"Larynx": [0.4, 0.5, 0.6], "Eye": [0.8, 1.0, None]},  # 0.5 and 0.9
        }
    )
    micro = as_table(row(m, "", "", v, averaging="micro") for m, v in (("a_1", 0.3), ("b", 0.4)))
    auc = as_table(row("a_1", "p0", s, 0.99, metric="auc") for s in ("Larynx", "Eye"))
    return pd.concat([volume, micro, auc])


def test_table_1_has_a_block_per_averaging_and_the_numbers_by_hand(results):
    table = table_1(summary_of(results), protocol="clean")
    assert list(table.cells["averaging"]) == ["volume", "volume", "micro", "micro"]
    assert list(table.cells["model"]) == ["a_1", "b", "a_1", "b"]
    assert list(table.cells["DSC"]) == ["0.750", "0.700", "0.300", "0.400"]
    assert list(table.cells["AUC"]) == ["0.990", DASH, DASH, DASH]  # b has none
    assert list(table.cells["over"]) == ["3 patients", "3 patients", "1 fold", "1 fold"]
    assert table.cells["95 % interval of DSC"].iloc[2] == ""  # one value a fold has no interval over patients
    assert table.groups == (2,)
    assert "F1" not in table.cells.columns  # nobody measured it


def test_the_best_of_a_block_is_bold_and_one_without_rival_is_not(results):
    bold = table_1(summary_of(results), protocol="clean").bold
    assert list(bold["DSC"]) == [True, False, False, True]
    assert not bold["AUC"].any()
    assert not bold["model"].any()


def test_a_method_that_lacks_folds_is_marked_and_never_bold(results):
    table = table_1(summary_of(results), protocol="clean", incomplete=["a_1"])
    assert list(table.cells["model"])[:2] == ["a_1 †", "b"]
    assert not table.bold["DSC"].iloc[0]
    assert "† lacks folds, patients or structures that others have" in table.caption


EASY = {
    "net": {"Larynx": [0.4, 0.5, 0.6], "Eye": [0.9, 0.9, 0.8]},
    "other": {"Larynx": [0.3, 0.4, 0.5], "Eye": [0.9] * 3},
}


@pytest.mark.parametrize(
    ("few", "what"),
    [
        ({"Eye": [0.9, 0.9, 0.8]}, "1 of 2 structures"),
        ({"Larynx": [None, None, 0.7], "Eye": [None, None, 0.9]}, "1 of 3 patients"),
        ({"Larynx": [0.4, 0.5, 0.7], "Eye": [0.9, 0.9, None]}, "5 of 6 values"),
    ],
)
def test_a_method_with_fewer_structures_or_patients_does_not_win(few, what):
    """It has the same masks or better ones, and the highest mean because it lacks what is hard."""
    results = of_values(EASY | {"easy": few})
    (protocol,) = read_protocols(results)
    assert protocol.incomplete() == {"easy": what}
    assert f"INCOMPLETE: easy has {what} only" in coverage(protocol)
    summary = summary_of(results)
    first = table_1(summary, protocol="clean", incomplete=protocol.incomplete())
    assert list(first.cells["model"]) == ["net", "other", "easy †"]
    assert list(first.bold["DSC"]) == [True, False, False]
    varied = {"3 patients, 2 structures", "3 patients, 1 structure"}
    assert set(first.cells["over"]) >= (varied if "structures" in what else {"3 patients"})
    structures = structures_table(summary, protocol="clean", incomplete=protocol.incomplete())
    assert not structures.bold["easy †"].any()


def test_nothing_to_measure_lacks_nothing():
    """A structure that is rightly found absent has a row without a value."""
    results = of_values({"a": {"Eye": [0.5, 0.6, 0.7]}, "b": {"Eye": [0.5, float("nan"), 0.7]}})
    assert read_protocols(results)[0].incomplete() == {}


def test_each_of_two_methods_may_lack_what_the_other_has():
    results = of_values({"a": {"Eye": [0.5], "Larynx": [0.5]}, "b": {"Eye": [0.5], "Mandible": [0.9]}})
    (protocol,) = read_protocols(results)
    assert protocol.incomplete() == dict.fromkeys("ab", "2 of 3 structures")
    assert not table_1(summary_of(results), protocol="clean", incomplete=protocol.incomplete()).bold.any(axis=None)


def test_the_headline_is_over_the_organs_where_they_are_named(results):
    table = table_1(summary_of(results, organs=["Larynx"]), protocol="clean")
    assert list(table.cells["DSC"])[:2] == ["0.600", "0.500"]
    assert "over the 1 organs; micro is over all structures" in table.caption
    assert set(table.numbers["structure"]) == {"organs", "all"}  # micro has all only


def test_costs_are_columns_and_a_method_without_has_none(results):
    table = table_1(summary_of(results), protocol="clean", costs={"a_1": (2_070_000, 7.5e9)})
    assert list(table.cells["params, M"])[:2] == ["2.07", DASH]
    assert list(table.cells["GFLOPs"])[:2] == ["7.5", DASH]
    assert table.numbers["parameters"].iloc[0] == 2_070_000


def test_table_1_names_every_averaging_in_its_caption(results):
    caption = table_1(summary_of(results), protocol="clean").caption
    assert "volume: a value per patient volume" in caption
    assert "micro: a value per fold over all pixels" in caption
    assert "pooled" not in caption


def test_structures_have_mean_and_interval_and_the_best_is_bold(results):
    table = structures_table(summary_of(results), protocol="clean")
    assert list(table.cells["structure"]) == ["Larynx", "Eye", "all"]
    assert list(table.cells["patients"]) == ["3", "2", "3"]
    means = [text.split("\n")[0] for text in table.cells["b"]]
    assert means == ["0.500", "0.900", "0.700"]
    assert table.cells["b"].iloc[0].split("\n")[1].startswith("[0.4")
    assert list(table.bold["a_1"]) == [True, True, True]
    assert list(table.bold["b"]) == [False, True, False]  # equal as printed
    larynx = table.numbers[(table.numbers["method"] == "b") & (table.numbers["structure"] == "Larynx")]
    assert larynx["mean"].item() == pytest.approx(0.5)


def test_counts_that_differ_between_methods_are_a_range():
    results = of_values({"a": {"Eye": [0.5, 0.6, 0.7]}, "b": {"Eye": [0.5, None, None], "Larynx": [0.5, 0.4, 0.3]}})
    table = structures_table(summary_of(results), protocol="clean")
    assert list(table.cells["patients"]) == [f"1{DASH}3", "3", "3"]
    assert list(table.cells["a"])[1] == DASH  # a has no larynx


def test_a_protocol_or_metric_that_is_not_there_is_an_error(results):
    summary = summary_of(results)
    with pytest.raises(NasosegError, match=r"protocol: the summary has no 'paper', found 'clean'"):
        table_1(summary, protocol="paper")
    with pytest.raises(NasosegError, match=r"metric: the summary has no 'jsc' with averaging 'volume'"):
        structures_table(summary, protocol="clean", metric="jsc")
    with pytest.raises(NasosegError, match=r"metrics: the summary has none of those asked for"):
        table_1(summary, protocol="clean", metrics=["jsc"])
