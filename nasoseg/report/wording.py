"""How metrics, averagings, numbers and tests are worded, the same in every table, figure and sentence."""

from collections.abc import Sequence

from nasoseg.errors import NasosegError, nearest

METRICS = {"dsc": "DSC", "soft_dsc": "soft DSC", "jsc": "JSC", "f1": "F1", "auc": "AUC"}
"""Metrics as they are printed; others by their own name."""

AVERAGINGS = {
    "volume": "a value per patient volume, mean over patients, then over structures (the headline)",
    "slice": "mean over the slices of a patient where the value is defined, then over patients, then over structures",
    "pooled": "a value per fold over all pixels of its patients, mean over folds, then over structures",
    "micro": "a value per fold over all pixels of its patients and of all structures, mean over folds",
}
"""What each averaging means; ``nasoseg.metrics.Averaging`` defines them."""

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""Stands in a table where there is no value."""

SIGNIFICANT = 0.05
MARKS = ((0.001, "***"), (0.01, "**"), (SIGNIFICANT, "*"))
MARKS_EXPLAINED = "* p < 0.05, ** p < 0.01, *** p < 0.001, no mark: no difference shown, or too few that differ to test"


def metric_name(metric: str) -> str:
    """Return a metric's name as it is printed."""
    return METRICS.get(metric, metric)


def number(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """Word a value: ``0.812``, with ``signed`` ``+0.012`` or ``−0.004``; ``–`` where there is none."""
    if value != value:
        return NOTHING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not float(text):
        text = text.lstrip("+-")  # no sign where all printed digits are zero
    return text.replace("-", MINUS)


def interval(low: float, high: float, *, signed: bool = False) -> str:
    """Word an interval: ``[0.790, 0.831]``; empty where there is none."""
    if low != low or high != high:
        return ""
    return f"[{number(low, signed=signed)}, {number(high, signed=signed)}]"


def p_value(p: float) -> str:
    """Word a p-value: ``p < 0.001``, ``p = 0.034``, ``p = 0.21``."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def mark(p: float) -> str:
    """Return the mark of a p-value: ``*``, ``**``, ``***``, or nothing (also where there is no p)."""
    return next((text for limit, text in MARKS if p < limit), "")


def counted(count: int, noun: str) -> str:
    """Word a count: ``1 patient``, ``2 patients``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Join names: ``a``, ``a and b``, ``a, b and c``."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def checked_reference(reference: str | None, methods: Sequence[str]) -> str:
    """Return the method that others are compared with: the given one, or the first.

    Raises:
        NasosegError: If there is no such method.
    """
    if reference is None:
        return methods[0]
    if reference not in methods:
        raise NasosegError(f"reference: the results have no method {reference!r}: {nearest(reference, methods)}")
    return reference
