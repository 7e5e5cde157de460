"""What the numbers show, in plain words, and no more than that."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from nasoseg.evaluation.values import ALL, ORGANS
from nasoseg.report.wording import MINUS, SIGNIFICANT, counted, interval, listed, metric_name, number, p_value


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
            "untested": "too few patients to test on",
        }
        said = "; ".join(f"{words[kind]} {listed(names)}" for kind, names in parts.items() if names)
        sentences.append(f"{method}: {said}.")
    return sentences


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
