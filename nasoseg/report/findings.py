"""What the numbers show, in plain words, and no more than that."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from nasoseg.evaluation.values import ALL, ORGANS
from nasoseg.report.per_unit import Protocol
from nasoseg.report.wording import MINUS, SIGNIFICANT, counted, interval, listed, metric_name, number, p_value

_HOW_TO_READ = (
    "A difference is the mean over patients of each patient's difference (over the structures that both methods have"
    " for him), with its 95 % interval by bootstrap over patients, which is not corrected for the number of"
    " comparisons. p is that of Wilcoxon's signed-rank test, two-sided, corrected by Holm's method over {family}. A"
    ' difference is called shown where p < 0.05. "No difference shown" does not say that the methods are equal, but'
    " that these patients do not tell them apart. Every fold was trained once: what another random seed would change is"
    " not in these intervals."
)
PAPER_WARNING = (
    "Under protocol paper slices of the same patients were trained on, and the test fold chose the checkpoint: these"
    " numbers are optimistic, and differences between methods may be differences in how well they remember."
)


def headline_sentences(statistics: pd.DataFrame, *, protocol: str, headline: str) -> list[str]:
    """Word the overall difference of every method to the reference.

    Args:
        statistics: From ``nasoseg.evaluation.compare`` with a reference.
        protocol: ``clean`` or ``paper``.
        headline: The row to word: ``all`` or ``organs``.

    Returns:
        A sentence per method, such as "unet − two_stage: DSC −0.012 [−0.028, 0.004], p = 0.21 after Holm, 25
        patients: no difference shown."
    """
    rows = statistics[(statistics["protocol"] == protocol) & (statistics["structure"] == headline)]
    return [_sentence(row) for row in rows.to_dict("records")]


def structure_sentences(statistics: pd.DataFrame, *, protocol: str) -> list[str]:
    """Word, for every method, on which structures a difference to the reference is shown, and on which none is.

    Args:
        statistics: From ``nasoseg.evaluation.compare`` with a reference.
        protocol: ``clean`` or ``paper``.
    """
    rows = statistics[(statistics["protocol"] == protocol) & ~statistics["structure"].isin((ALL, ORGANS))]
    sentences = []
    for method, of_method in rows.groupby("method", sort=False):
        parts: dict[str, list[str]] = {"higher": [], "lower": [], "none": [], "untested": []}
        for row in of_method.to_dict("records"):
            parts[_direction(row)].append(_brief(row))
        reference = of_method["reference"].iloc[0]
        words = {
            "higher": f"higher than {reference} on",
            "lower": f"lower than {reference} on",
            "none": "no difference shown on",
            "untested": "too few patients that differ to test on",
        }
        said = "; ".join(f"{words[kind]} {listed(names)}" for kind, names in parts.items() if names)
        sentences.append(f"{method}: {said}.")
    return sentences


def reading_sentence(statistics: pd.DataFrame, *, protocol: str) -> str:
    """Say what the differences, intervals and p of ``nasoseg.evaluation.compare`` are, and over how many tests."""
    rows = statistics[statistics["protocol"] == protocol]
    is_overall = rows["structure"].isin((ALL, ORGANS))
    family, among = (int(part["family"].max()) if len(part) else 0 for part in (rows[is_overall], rows[~is_overall]))
    tests = f"{counted(family, 'overall test')}, and over {counted(among, 'test')} of single structures"
    return _HOW_TO_READ.format(family=tests)


def ranks_sentence(ranks: pd.DataFrame, *, protocol: str, headline: str) -> str:
    """Word the methods' mean ranks, from ``nasoseg.evaluation.ranks``."""
    rows = ranks[(ranks["protocol"] == protocol) & (ranks["structure"] == headline)]
    rows = rows.sort_values("mean_rank", kind="stable")
    if rows.empty:
        return "Mean ranks: no patient has a value."
    n, left_out = int(rows["n"].iloc[0]), int(rows["left_out"].iloc[0])
    if not n:
        return "Mean ranks: no patient has a value of every method."
    placed = [f"{row['method']} {number(row['mean_rank'], digits=2)}" for row in rows.to_dict("records")]
    text = f"Mean ranks (1 is best) in the {counted(n, 'patient')} that every method has: {', '.join(placed)}."
    if left_out:
        text += f" {counted(left_out, 'patient')} without a value of every method left out."
    p = float(rows["p"].iloc[0])
    return text if p != p else f"{text} Friedman's test that all rank alike: {p_value(p)}."


def coverage(protocol: Protocol) -> str:
    """Say which folds and how many patients every method has, and which methods lack something that others have."""
    tested = {method: len(cells.index.unique("patient")) for method, cells in protocol.cells.items()}
    incomplete = protocol.incomplete()
    complete = [method for method in protocol.methods if method not in incomplete]
    folds = f"{'fold' if len(protocol.folds) == 1 else 'folds'} {listed(protocol.folds)}"
    patients = sorted({tested[method] for method in complete})
    text = f"{folds}; {' or '.join(counted(count, 'patient') for count in patients)} tested by every method"
    if not incomplete:
        return f"{text}."
    few = [
        f"{method} has {found} only" + ("" if "patient" in found else f", with {counted(tested[method], 'patient')}")
        for method, found in incomplete.items()
    ]
    if not complete:
        return f"{folds}. INCOMPLETE: {'; '.join(few)}."
    return f"{text} that is complete. INCOMPLETE: {'; '.join(few)}."


def _sentence(row: Mapping[Hashable, Any]) -> str:
    name = f"{row['method']} {MINUS} {row['reference']}"
    if not row["n"]:
        return f"{name}: no patient that both have: nothing can be said."
    numbers = f"{metric_name(row['metric'])} {number(row['mean_difference'], signed=True)}"
    if bounds := interval(row["low"], row["high"], signed=True):
        numbers += f" {bounds}"
    patients = counted(int(row["n"]), "patient")
    direction = _direction(row)
    if direction == "untested":
        return f"{name}: {numbers}, {patients}: not tested, {row['reason']}."
    verdicts = {
        "none": "no difference shown",
        "higher": f"{row['method']} is higher",
        "lower": f"{row['method']} is lower",
    }
    text = f"{name}: {numbers}, {p_value(row['p_holm'])} after Holm, {patients}: {verdicts[direction]}"
    return f"{text}{_doubt(row, direction)}."


def _direction(row: Mapping[Hashable, Any]) -> str:
    """Tell what a test shows: ``higher``, ``lower``, ``none`` or ``untested``; the side is that of the ranks tested."""
    if row["p_holm"] != row["p_holm"]:
        return "untested"
    if row["p_holm"] >= SIGNIFICANT:
        return "none"
    return "higher" if row["effect"] > 0 else "lower"


def _doubt(row: Mapping[Hashable, Any], direction: str) -> str:
    """Say where test and interval disagree, so that nobody picks the one that pleases."""
    if row["low"] != row["low"]:
        return ""
    excludes_zero = row["low"] > 0 or row["high"] < 0
    if direction == "none":
        return " (the interval, which is not corrected, excludes 0)" if excludes_zero else ""
    if not _agree(row):
        return " by ranks, while the mean points the other way: few patients differ much"
    return "" if excludes_zero else " by ranks, while the interval of the mean includes 0"


def _brief(row: Mapping[Hashable, Any]) -> str:
    """Word a structure in a list: its name, and the difference where one is shown."""
    name = str(row["structure"])
    if _direction(row) in ("none", "untested"):
        return name
    numbers = number(row["mean_difference"], signed=True)
    if not _agree(row):
        numbers += f", median {number(row['median_difference'], signed=True)}"
    return f"{name} ({numbers}, {p_value(row['p_holm'])})"


def _agree(row: Mapping[Hashable, Any]) -> bool:
    """Tell whether mean and ranks are on the same side."""
    return bool((row["mean_difference"] > 0) == (row["effect"] > 0))


def patients_sentence(statistics: pd.DataFrame, *, protocol: str, headline: str) -> str:
    """Say how many values had no partner, or that all had one."""
    rows = statistics[(statistics["protocol"] == protocol) & (statistics["structure"] == headline)]
    gone: Sequence[str] = [
        f"{row['method']} ({row['unpaired_method']} of its own, {row['unpaired_reference']} of {row['reference']})"
        for row in rows.to_dict("records")
        if row["unpaired_method"] or row["unpaired_reference"]
    ]
    if not gone:
        return "Every value has a partner: all methods were measured on the same patients and structures."
    return (
        "Only values of a patient, fold and structure that both methods have are compared. Values without a partner,"
        f" which were left out: {', '.join(gone)}."
    )
