"""Differences between methods on the same patients: paired intervals and tests, and ranks.

``compare`` and ``ranks`` use values that lie side by side: of one patient, in one fold, of one structure. A value that
another method lacks is not used, and it is counted.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nasoseg.errors import NasosegError, nearest
from nasoseg.evaluation import values
from nasoseg.evaluation.bootstrap import RESAMPLES, interval

LEAST_PAIRS = 5  # with fewer that differ, the smallest possible p of the signed-rank test is 1/8
MOST_EXACT = 50  # pairs that differ: scipy's own limit, below the 53 to which counts of signings are exact as floats
ZERO_METHOD = "pratt"
"""Zero differences are ranked with the others, then left out of the sums (Pratt, J. Am. Stat. Assoc. 54, 655, 1959)."""

_DECIMALS = 9  # metrics.csv has six digits: what differs less is rounding, and would break ties


def compare(
    table: pd.DataFrame,
    *,
    metric: str = "dsc",
    averaging: str = "volume",
    reference: str | None = None,
    organs: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare methods two by two, per protocol and structure and overall.

    The difference of a patient is that of the two methods' values in the same fold; under ``paper`` the mean over the
    folds in which both have one. Overall, it is the mean of his differences over the structures that both have, so
    that all patients count alike; the headline of ``summarise`` weighs structures alike instead.

    p is that of Wilcoxon's signed-rank test, two-sided: exact for up to 50 patients that differ, with ties and zeros
    too, else the normal approximation of ``scipy.stats.wilcoxon``. Zero differences: Pratt's method. Holm's correction
    (Scand. J. Stat. 6, 65-70, 1979) knows two families in each protocol: all pairs of methods x structures; and all
    pairs of methods x overall rows. The second asks whether one method is better at all, the first where.

    Args:
        table: From ``read_results``.
        metric: Such as ``dsc``.
        averaging: ``volume`` or ``slice``.
        reference: Compare each method with this one; None compares all with all.
        organs: Structures of the row ``organs``; None leaves the row out.
        resamples: How often patients are drawn for an interval.
        seed: Of the drawing.

    Returns:
        A row per protocol, pair and structure, overall rows last. Differences are ``method`` - ``reference``; without
        a given reference the method that comes first in the table is the reference of those after it.
        ``n``: patients with a difference. ``unpaired_method``, ``unpaired_reference``: values that only this one has.
        ``mean_difference`` with its BCa interval over patients ``low``, ``high``; ``median_difference``.
        ``effect``: matched-pairs rank-biserial correlation (Kerby, Compr. Psychol. 3, 11.IT.3.1, 2014), -1 to 1:
        the share of ranks that favour the method less the share against it; a value above 0 means higher values.
        ``p``: 1 where all differences are zero, NaN for fewer than 5 pairs, or fewer than 5 that differ: ``reason``
        says so. ``p_holm``, and ``family``: the number of tests that it was corrected for.

    Raises:
        NasosegError: If the table lacks the metric, the averaging, the reference or an organ, or no protocol has two
            methods.
    """
    rows = values.chosen_rows(table, metric=metric, averaging=averaging)
    groups = values.structure_groups(rows, organs)
    methods = [str(name) for name in rows["method"].unique()]
    if reference is not None and reference not in methods:
        raise NasosegError(f"reference: the table has no method {reference!r}: {nearest(reference, methods)}")
    results = []
    for protocol, of_protocol in values.protocols(rows):
        cells = values.by_method(of_protocol, groups[values.ALL])
        named = {"protocol": protocol, "metric": metric, "averaging": averaging}
        found = [
            named | {"method": method, "reference": against, "structure": structure} | pair
            for method, against in _pairs(list(cells), reference)
            for structure, pair in _pair(cells[method], cells[against], groups, resamples=resamples, seed=seed)
        ]
        if found:
            results.append(_corrected(pd.DataFrame(found), groups))
    if not results:
        needed = f"{reference!r} and another method" if reference else "two methods"
        raise NasosegError(f"compare: no protocol has {needed}, found {', '.join(methods)}: add runs to compare with")
    return pd.concat(results, ignore_index=True)


def _pairs(methods: list[str], reference: str | None) -> list[tuple[str, str]]:
    if reference is None:
        return [(second, first) for first, second in combinations(methods, 2)]
    return [(method, reference) for method in methods if method != reference and reference in methods]


def _pair(
    method: pd.DataFrame, reference: pd.DataFrame, groups: dict[str, list[str]], *, resamples: int, seed: int
) -> list[tuple[str, dict[str, Any]]]:
    method, reference = method.align(reference, join="outer")
    only_method, only_reference = method.notna() & reference.isna(), method.isna() & reference.notna()
    differences = values.patient_means(method - reference)
    found = []
    for structure, members in [(name, [name]) for name in groups[values.ALL]] + list(groups.items()):
        unpaired = {
            "unpaired_method": int(only_method[members].to_numpy().sum()),
            "unpaired_reference": int(only_reference[members].to_numpy().sum()),
        }
        of_patients = differences[members].mean(axis=1).dropna().to_numpy(float)
        if not (len(of_patients) or any(unpaired.values())):
            continue  # neither method has this structure
        low, high = interval(of_patients[:, None], resamples=resamples, seed=seed)
        p, reason = signed_rank(of_patients)
        numbers = {
            "mean_difference": float(of_patients.mean()) if len(of_patients) else np.nan,
            "low": low,
            "high": high,
            "median_difference": float(np.median(of_patients)) if len(of_patients) else np.nan,
            "effect": rank_biserial(of_patients),
            "p": p,
            "reason": reason,
        }
        found.append((structure, {"n": len(of_patients)} | unpaired | numbers))
    return found


def signed_rank(differences: npt.NDArray[np.float64]) -> tuple[float, str]:
    """Return the two-sided p of Wilcoxon's signed-rank test, and why there is none or no test was needed."""
    differences = np.round(differences, _DECIMALS)
    if len(differences) < LEAST_PAIRS:
        return float("nan"), f"fewer than {LEAST_PAIRS} pairs"
    if not differences.any():
        return 1.0, "all differences are zero"
    differing = int(np.count_nonzero(differences))
    if differing < LEAST_PAIRS:
        return float("nan"), f"fewer than {LEAST_PAIRS} pairs that differ"
    if differing <= MOST_EXACT:
        return _exact(differences), ""
    return float(stats.wilcoxon(differences, zero_method=ZERO_METHOD).pvalue), ""


def _exact(differences: npt.NDArray[np.float64]) -> float:
    """Return the two-sided p over all signs of the differences that are not zero, with Pratt's ranks.

    ``scipy.stats.wilcoxon`` is exact with ties and zeros for up to 13 pairs only. Its normal approximation beyond is
    far too small where most differences are zero: 0.05 in the place of 0.12 for 4 of 25, all of them positive.
    """
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # ties have halves
    doubled, positive = doubled[differences != 0], doubled[differences > 0]
    chance = np.zeros(doubled.sum() + 1)  # of every sum of positive ranks
    chance[0] = 1.0
    for rank in doubled:
        chance /= 2
        chance[rank:] += chance[:-rank].copy()
    smaller = min(positive.sum(), doubled.sum() - positive.sum())
    return min(1.0, 2 * float(chance[: smaller + 1].sum()))


def rank_biserial(differences: npt.NDArray[np.float64]) -> float:
    """Return the share of signed ranks above zero less that below, -1 to 1; 0 where all differences are zero.

    Ranks are those of the test: zeros are ranked, then left out.
    """
    differences = np.round(differences, _DECIMALS)
    if not len(differences):
        return float("nan")
    ranked = stats.rankdata(np.abs(differences)) * (differences != 0)
    total = ranked.sum()
    return float((ranked * np.sign(differences)).sum() / total) if total else 0.0


def _corrected(table: pd.DataFrame, groups: dict[str, list[str]]) -> pd.DataFrame:
    overall = table["structure"].isin(list(groups))
    table = table.assign(p_holm=np.nan, family=0)
    for family in (overall, ~overall):
        tested = family & table["p"].notna()
        table.loc[family, "family"] = int(tested.sum())
        if tested.any():
            table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p"], method="holm")[1]
    return table


def ranks(
    table: pd.DataFrame,
    *,
    metric: str = "dsc",
    averaging: str = "volume",
    organs: Sequence[str] | None = None,
    higher_is_better: bool = True,
) -> pd.DataFrame:
    """Rank the methods in every patient, 1 the best, and average the ranks over patients.

    Only values that all methods of the protocol have are used, patient, fold and structure alike. Overall, a patient's
    value is the mean over the structures left to him. Equal values share the mean of their ranks.

    Args:
        table: From ``read_results``.
        metric: Such as ``dsc``.
        averaging: ``volume`` or ``slice``.
        organs: Structures of the row ``organs``; None leaves the row out.
        higher_is_better: False for distances.

    Returns:
        A row per protocol, structure and method, overall rows last: ``mean_rank``, ``n``: patients ranked,
        ``left_out``: patients with a value of some method only. For three methods or more ``friedman`` and ``p`` of
        Friedman's test over these patients by ``scipy.stats.friedmanchisquare``; NaN for fewer than 5 patients, p = 1
        where all methods are equal in all of them.

    Raises:
        NasosegError: If the table lacks the metric, the averaging or an organ, or no protocol has two methods.
    """
    rows = values.chosen_rows(table, metric=metric, averaging=averaging)
    groups = values.structure_groups(rows, organs)
    result: list[dict[str, Any]] = []
    for protocol, of_protocol in values.protocols(rows):
        cells = values.by_method(of_protocol, groups[values.ALL])
        if len(cells) < 2:
            continue
        index = pd.MultiIndex.from_frame(of_protocol[["patient", "fold"]].drop_duplicates())
        cells = {method: of.reindex(index) for method, of in cells.items()}
        shared = np.logical_and.reduce([of.notna().to_numpy() for of in cells.values()])
        some = np.logical_or.reduce([of.notna().to_numpy() for of in cells.values()])
        used = {method: values.patient_means(of.where(shared)) for method, of in cells.items()}
        there = values.patient_means(pd.DataFrame(some, index, groups[values.ALL]).astype(float)) > 0
        for structure, members in [(name, [name]) for name in groups[values.ALL]] + list(groups.items()):
            of_patients = pd.DataFrame({method: of[members].mean(axis=1) for method, of in used.items()}).dropna()
            n, held = len(of_patients), int(there[members].any(axis=1).sum())
            if not held:
                continue  # no method of this protocol has the structure
            rounded = of_patients.round(_DECIMALS)
            mean_ranks = rounded.rank(axis=1, ascending=not higher_is_better).mean()
            friedman, p = _friedman(rounded.to_numpy(float))
            named = {"protocol": protocol, "metric": metric, "averaging": averaging, "structure": structure}
            counted = {"n": n, "left_out": held - n, "friedman": friedman, "p": p}
            result += [named | {"method": method, "mean_rank": float(mean_ranks[method])} | counted for method in used]
    if not result:
        raise NasosegError(f"ranks: found {', '.join(rows['method'].unique())}, expected two methods: add runs")
    return pd.DataFrame(result)


def _friedman(of_patients: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return Friedman's statistic and p of (patients, methods) values."""
    patients, methods = of_patients.shape
    if methods < 3 or patients < LEAST_PAIRS:
        return float("nan"), float("nan")
    if (of_patients == of_patients[:, :1]).all():
        return 0.0, 1.0
    statistic, p = stats.friedmanchisquare(*of_patients.T)
    return float(statistic), float(p)
