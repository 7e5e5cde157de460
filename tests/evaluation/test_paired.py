"""Paired comparisons: worked by hand, scipy called independently, missing pairs, ties, few patients."""

import gc
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from result_tables import drawn_cells, numbered, row_of, rows, table
from scipy import stats

from nasoseg.errors import NasosegError
from nasoseg.evaluation import compare, ranks
from nasoseg.evaluation.bootstrap import interval
from nasoseg.evaluation.paired import rank_biserial, signed_rank

FEW = {"resamples": 100}


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Keep the collector off torch's modules: statsmodels runs it on every correction, half a second each."""
    gc.freeze()
    yield
    gc.unfreeze()


def above(differences, base=0.5):
    """Two methods of one structure with these differences between second and first."""
    first = {"A": numbered([base] * len(differences))}
    return table({"first": first, "second": {"A": numbered([base + d for d in differences])}})


def test_signed_rank_worked_by_hand():
    """Ranks 1 to 6, the 4th negative: 7 of 64 signings have a smaller sum of 4 or less, so p = 2 x 7 / 64."""
    differences = [0.01, 0.02, 0.03, -0.04, 0.05, 0.06]
    a = row_of(compare(above(differences), **FEW), structure="A")
    assert (a["method"], a["reference"], a["n"]) == ("second", "first", 6)
    assert a["p"] == pytest.approx(14 / 64)
    assert a["effect"] == pytest.approx((17 - 4) / 21)
    assert a["mean_difference"] == pytest.approx(0.13 / 6)
    assert a["median_difference"] == pytest.approx(0.025)
    assert a["reason"] == ""


def test_agrees_with_scipy():
    first, second = drawn_cells(0, missing=0), drawn_cells(1, missing=0)
    found = compare(table({"first": first, "second": second}), resamples=200, seed=7)
    shared = {name: np.array(list(second[name].values())) - np.array(list(first[name].values())) for name in "ABC"}
    shared["all"] = np.mean(list(shared.values()), axis=0)
    for structure, differences in shared.items():
        row = row_of(found, structure=structure)
        assert row["p"] == pytest.approx(stats.wilcoxon(differences).pvalue)
        assert (row["low"], row["high"]) == interval(differences[:, None], resamples=200, seed=7)
        assert row["mean_difference"] == pytest.approx(differences.mean())


def over_all_signs(differences):
    """The share of signings of the pairs that differ, with Pratt's ranks, whose sum is as far from 0 or further."""
    signed = (stats.rankdata(abs(differences)) * np.sign(differences))[differences != 0]
    signs = np.array(list(product((-1, 1), repeat=len(signed))))
    return np.mean(abs(signs @ abs(signed)) >= abs(signed.sum()) - 1e-9)


def test_zeros_and_ties_are_pratts():
    differences = np.array([0, 0, 0.1, 0.1, -0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9])
    p, reason = signed_rank(differences)
    assert reason == ""
    # By hand: zeros take ranks 1, 2 and are left out; ties share ranks.
    ranked = stats.rankdata(abs(differences))[2:]
    assert ranked[:3].tolist() == [4, 4, 4]
    assert p == over_all_signs(differences) == 4 * 2 / 2**13  # none negative, or one of the three of rank 4
    assert rank_biserial(differences) == pytest.approx((ranked.sum() - 8) / ranked.sum())
    noisy = differences + np.random.default_rng(0).uniform(-1e-13, 1e-13, len(differences))
    assert signed_rank(noisy) == (p, "")  # 0.3 - 0.2 and 0.2 - 0.1 tie


@pytest.mark.parametrize("zeros", [0, 1, 21, 95])
@pytest.mark.parametrize("differing", [5, 6, 9, 12])
def test_signed_rank_is_exact_with_zeros_and_ties(zeros, differing):
    random = np.random.default_rng(zeros + differing)
    for _ in range(5):
        differences = np.r_[np.zeros(zeros), random.integers(1, 8, differing) * random.choice([-0.01, 0.01], differing)]
        assert signed_rank(differences) == (pytest.approx(over_all_signs(differences)), "")


@pytest.mark.parametrize("pairs", [5, 13, 14, 35, 50])
def test_signed_rank_is_scipys_where_that_is_exact(pairs):
    differences = np.random.default_rng(pairs).permutation(np.arange(1, pairs + 1)) * 0.01
    differences[: pairs // 3] *= -1
    assert signed_rank(differences)[0] == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_signed_rank_is_approximated_for_many_pairs():
    differences = np.r_[np.zeros(20), np.arange(-20, 0), np.arange(1, 32)] * 0.01  # 51 differ, one more than exact
    expected = stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue
    assert signed_rank(differences) == (pytest.approx(expected), "")
    fewer = signed_rank(differences[:-1])[0]
    assert fewer == pytest.approx(stats.wilcoxon(differences[:-1], zero_method="pratt").pvalue, rel=0.05)


def test_few_that_differ_are_not_tested():
    p, reason = signed_rank(np.r_[np.zeros(21), 0.01, 0.02, 0.03, 0.04])  # 1/8 at best, over all signs
    assert np.isnan(p)
    assert reason == "fewer than 5 pairs that differ"
    assert signed_rank(np.r_[np.zeros(21), 0.01, 0.02, 0.03, 0.04, 0.05]) == (2 / 2**5, "")


def test_all_equal_and_too_few():
    same = row_of(compare(above([0.0] * 8), **FEW), structure="A")
    assert (same["p"], same["p_holm"], same["effect"], same["reason"]) == (1, 1, 0, "all differences are zero")
    assert (same["low"], same["high"]) == (0, 0)
    few = row_of(compare(above([0.1, 0.2, 0.3, 0.4]), **FEW), structure="A")
    assert np.isnan([few["p"], few["p_holm"]]).all()
    assert (few["reason"], few["n"], few["family"]) == ("fewer than 5 pairs", 4, 0)
    assert few["mean_difference"] == pytest.approx(0.25)
    one = row_of(compare(above([0.1]), **FEW), structure="A")
    assert np.isnan([one["low"], one["high"]]).all()


def test_holm_worked_by_hand():
    """All 8, 7 and 6 differences positive: p = 2/256, 2/128, 2/64; times 3, 2, 1, and never falling."""
    sizes = {"A": 7, "B": 8, "C": 6}
    first = {name: numbered([0.5] * size) for name, size in sizes.items()}
    second = {name: numbered([0.5 + 0.01 * (i + 1) for i in range(size)]) for name, size in sizes.items()}
    found = compare(table({"first": first, "second": second}), **FEW)
    organs = found[found["structure"] != "all"]
    assert organs["p"].tolist() == pytest.approx([2 / 128, 2 / 256, 2 / 64])
    assert organs["p_holm"].tolist() == pytest.approx([4 / 128, 6 / 256, 4 / 128])
    assert organs["family"].tolist() == [3, 3, 3]
    overall = row_of(found, structure="all")
    assert (overall["family"], overall["p_holm"]) == (1, overall["p"])  # a family of its own


def test_families_are_all_pairs_of_a_protocol():
    methods = {f"m{i}": drawn_cells(i, structures=("A", "B")) for i in range(3)}
    both = pd.concat([table(methods), table(methods, protocol="paper")])
    found = compare(both, organs=["A"], **FEW)
    assert len(found) == 2 * 3 * 4
    assert list(dict.fromkeys(zip(found["method"], found["reference"], strict=True))) == [
        ("m1", "m0"), ("m2", "m0"), ("m2", "m1"),
    ]  # fmt: skip
    for _, of_protocol in found.groupby("protocol"):
        for names in (["A", "B"], ["all", "organs"]):
            family = of_protocol[of_protocol["structure"].isin(names)]
            assert set(family["family"]) == {6}
            ordered = family.sort_values("p")
            expected = np.minimum(1, np.maximum.accumulate(ordered["p"] * np.arange(6, 0, -1)))
            assert ordered["p_holm"].tolist() == pytest.approx(expected.tolist())


def test_missing_pairs_are_counted():
    first = {"A": numbered([0.1, 0.2, 0.3, 0.4, None, None]), "B": numbered([0.5, np.nan])}
    second = {"A": numbered([0.2, None, 0.5, np.nan, 0.9, 0.9]), "B": numbered([0.6, 0.7]), "C": {"p00": 1.0}}
    found = compare(table({"first": first, "second": second}), **FEW)
    a, b, c, overall = (row_of(found, structure=name) for name in ("A", "B", "C", "all"))
    assert (a["n"], a["unpaired_method"], a["unpaired_reference"]) == (2, 2, 2)
    assert a["mean_difference"] == pytest.approx((0.1 + 0.2) / 2)
    assert (b["n"], b["unpaired_method"], b["unpaired_reference"]) == (1, 1, 0)
    assert (c["n"], c["unpaired_method"], c["unpaired_reference"]) == (0, 1, 0)  # only one method has it
    assert np.isnan([c["mean_difference"], c["median_difference"], c["p"], c["effect"]]).all()
    # p00 has A and B in both, p02 only A; C is left out of his mean.
    assert (overall["n"], overall["unpaired_method"], overall["unpaired_reference"]) == (2, 4, 2)
    assert overall["mean_difference"] == pytest.approx((np.mean([0.1, 0.1]) + 0.2) / 2)


def test_protocol_paper_pairs_the_same_slices():
    first = {"A": {("p", "0"): 0.2, ("p", "1"): 0.4, ("q", "0"): 0.5}}
    second = {"A": {("p", "0"): 0.3, ("p", "1"): 0.7, ("q", "1"): 0.9}}
    a = row_of(compare(table({"first": first, "second": second}, protocol="paper"), **FEW), structure="A")
    assert (a["n"], a["unpaired_method"], a["unpaired_reference"]) == (1, 1, 1)  # q's slices are others
    assert a["mean_difference"] == pytest.approx((0.1 + 0.3) / 2)


def test_one_reference():
    methods = {f"m{i}": drawn_cells(i, structures=("A",)) for i in range(4)}
    found = compare(table(methods), reference="m2", **FEW)
    assert list(dict.fromkeys(found["method"])) == ["m0", "m1", "m3"]
    assert set(found["reference"]) == {"m2"}
    assert set(found["family"]) == {3}
    turned = compare(table({"m2": methods["m2"], "m0": methods["m0"]}), **FEW)
    assert row_of(turned, structure="A")["p"] == row_of(found, structure="A", method="m0")["p"]


def test_compare_refuses_what_it_cannot_pair():
    one = table({"UNet": {"A": {"p": 0.5}}})
    with pytest.raises(NasosegError, match="no protocol has two methods, found UNet"):
        compare(one)
    with pytest.raises(NasosegError, match="no method 'Unet': did you mean 'UNet'"):
        compare(one, reference="Unet")
    with pytest.raises(NasosegError, match="no protocol has 'UNet' and another method"):
        compare(one, reference="UNet")
    with pytest.raises(NasosegError, match="'micro' has one value a fold"):
        compare(table({"UNet": {"": {"": 0.5}}}, averaging="micro"), averaging="micro")
    with pytest.raises(NasosegError, match="found UNet, expected two methods"):
        ranks(one)


def test_ranks_worked_by_hand():
    """Four complete patients; q ties first and second; the last has no value of `third`."""
    methods = {
        "first": {"A": numbered([0.1, 0.5, 0.1, 0.1, 0.3])},
        "second": {"A": numbered([0.2, 0.5, 0.2, 0.3, 0.4])},
        "third": {"A": numbered([0.3, 0.1, 0.3, 0.2])},
    }
    found = ranks(table(methods))
    of_a = found[found["structure"] == "A"].set_index("method")
    assert of_a["mean_rank"].to_dict() == {
        "first": (3 + 1.5 + 3 + 3) / 4,
        "second": (2 + 1.5 + 2 + 1) / 4,
        "third": (1 + 3 + 1 + 2) / 4,
    }
    assert set(of_a["n"]) == {4}
    assert set(of_a["left_out"]) == {1}
    assert of_a["p"].isna().all()  # too few patients for Friedman
    lower = ranks(table(methods), higher_is_better=False)
    assert row_of(lower, structure="A", method="first")["mean_rank"] == 4 - (3 + 1.5 + 3 + 3) / 4


def test_friedman_is_scipys_and_the_formula():
    methods = {f"m{i}": drawn_cells(i, structures=("A", "B"), missing=0) for i in range(3)}
    found = ranks(table(methods))
    of_a = np.array([list(cells["A"].values()) for cells in methods.values()])
    statistic, p = stats.friedmanchisquare(*of_a)
    row = row_of(found, structure="A", method="m0")
    assert (row["friedman"], row["p"]) == pytest.approx((statistic, p))
    n, k, mean_ranks = 20, 3, found[found["structure"] == "A"]["mean_rank"].to_numpy()
    # Friedman, J. Am. Stat. Assoc. 32, 675-701, 1937
    by_formula = 12 * n / (k * (k + 1)) * ((mean_ranks - (k + 1) / 2) ** 2).sum()
    assert row["friedman"] == pytest.approx(by_formula)
    overall = np.array([np.mean([list(cells[name].values()) for name in "AB"], axis=0) for cells in methods.values()])
    assert row_of(found, structure="all", method="m1")["friedman"] == pytest.approx(
        stats.friedmanchisquare(*overall).statistic
    )


def test_overall_ranks_use_what_all_have():
    first = {"A": {"p": 0.5, "q": 0.5}, "B": {"p": 0.9}}
    second = {"A": {"p": 0.6, "q": 0.4}, "B": {"q": 0.9}}
    found = ranks(table({"first": first, "second": second, "third": {"A": {"p": 0.1, "q": 0.1}}}))
    assert found[found["structure"] == "all"]["mean_rank"].tolist() == [1.5, 1.5, 3]  # by A alone
    b = found[found["structure"] == "B"]
    assert b["n"].tolist() == [0, 0, 0]
    assert b["left_out"].tolist() == [2, 2, 2]
    assert b["mean_rank"].isna().all()


def test_equal_methods_have_p_one():
    cells = drawn_cells(0, structures=("A",))
    found = ranks(table(dict.fromkeys(("a", "b", "c"), cells)))
    assert set(found["p"]) == {1.0}
    assert set(found["mean_rank"]) == {2.0}


def test_two_methods_have_ranks_and_no_friedman():
    found = ranks(table({"a": drawn_cells(0), "b": drawn_cells(1)}))
    assert found["friedman"].isna().all()
    for _, of in found.groupby("structure"):
        assert of["mean_rank"].sum() == 3


def test_ranks_under_paper_are_of_patients():
    folds = [("p", "0"), ("p", "1"), ("q", "0")]
    first = rows("first", {"A": dict(zip(folds, (0.1, 0.9, 0.5), strict=True))}, protocol="paper")
    second = rows("second", {"A": dict(zip(folds, (0.2, 0.6, 0.6), strict=True))}, protocol="paper")
    found = ranks(pd.concat([first, second]))
    assert found[found["structure"] == "A"]["mean_rank"].tolist() == [1.5, 1.5]  # p: 0.5 and 0.4, q: 0.5 and 0.6
    assert set(found["n"]) == {2}
    assert [*combinations(found["method"].unique(), 2)] == [("first", "second")]
