"""Bootstrap intervals of the headline: the mean over structures of each structure's mean over patients.

Patients are drawn, each with all his structures: structures of one patient rise and fall together, and drawing them
one by one would make the interval too narrow. The intervals are bias-corrected and accelerated (BCa; Efron, J. Am.
Stat. Assoc. 82, 171-185, 1987), by ``scipy.stats.bootstrap``, at a level that is raised for few patients (Hesterberg,
Am. Stat. 69, 371-386, 2015, "expanded percentile interval"): plain ones are too narrow then. In simulations with
skewed values, three structures and a fifth of the values missing, a nominal 95 % covered the truth in

    patients        10      30      100
    BCa             0.883   0.925   0.949
    BCa, expanded   0.933   0.941   0.954

Every interval starts its own generator from the same seed, so that it depends on its own data only, and not on what
else is in the table.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 9999  # scipy's default
_MOST_DRAWN = 2**21  # patients drawn at a time, so that memory stays below 100 MB


def mean_of_means(values: Values) -> float:
    """Average (p, k) values over patients, then over the structures that have a value; NaN where none has.

    This is the headline. With k = 1 it is the mean over patients.
    """
    held = ~np.isnan(values)
    counted = held.sum(axis=0)
    means = np.where(held, values, 0.0).sum(axis=0)[counted > 0] / counted[counted > 0]
    return float(means.mean()) if len(means) else float("nan")


def interval(values: Values, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % confidence interval of ``mean_of_means`` over patients.

    In a resample in which a structure has no patient, the mean is over the other structures.

    Args:
        values: (p, k), NaN where a patient has no value. Patients without any are left out.
        resamples: How often patients are drawn.
        seed: Of the drawing.

    Returns:
        Lower and upper end; NaN for fewer than two patients. Where BCa is not defined, as for equal values, the
        percentiles of the resamples.
    """
    return _bootstrap([values], lambda means: means[0], resamples=resamples, seed=seed)


def interval_of_difference(
    first: Values, second: Values, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % confidence interval of ``mean_of_means(first) - mean_of_means(second)``, unpaired.

    Args:
        first: (p, k).
        second: (q, k), of patients that are drawn independently of the first.
        resamples: How often patients are drawn.
        seed: Of the drawing.
    """
    return _bootstrap([first, second], lambda means: means[0] - means[1], resamples=resamples, seed=seed)


def _bootstrap(
    samples: list[Values], combine: Callable[[list[Values]], Values], *, resamples: int, seed: int
) -> tuple[float, float]:
    samples = [values[~np.isnan(values).all(axis=1)] for values in samples]
    if min(map(len, samples)) < 2:
        return float("nan"), float("nan")
    parts = [_Drawn(values) for values in samples]

    def statistic(*drawn: Any, axis: int = -1) -> Values:
        return combine([part.means(positions) for part, positions in zip(parts, drawn, strict=True)])

    tail = _expanded_tail(min(map(len, samples)))
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # equal values: handled below
        result = stats.bootstrap(
            [np.arange(len(values)) for values in samples],
            statistic,
            n_resamples=resamples,
            batch=max(1, _MOST_DRAWN // max(map(len, samples))),
            vectorized=True,
            confidence_level=1 - 2 * tail,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    low, high = result.confidence_interval
    if np.isnan(low) or np.isnan(high):
        low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail])
    return float(low), float(high)


def _expanded_tail(patients: int) -> float:
    """Return the share to cut off on each side, so that the interval has the width of Student's for a mean.

    The bootstrap's deviation of a mean has n in the place of n - 1, and its quantiles are the normal distribution's.
    """
    quantile = stats.t.isf((1 - CONFIDENCE) / 2, patients - 1) * np.sqrt(patients / (patients - 1))
    return max(float(stats.norm.sf(quantile)), 1e-9)  # the ends of all draws, for two or three patients


class _Drawn:
    """Compute the headline of patients that were drawn, many draws at once."""

    def __init__(self, values: Values) -> None:
        self.held = (~np.isnan(values)).astype(np.float64)
        self.filled = np.nan_to_num(values, nan=0.0)

    def means(self, positions: npt.NDArray[Any]) -> Values:
        """Map positions of patients, (..., n), to headlines, (...)."""
        patients = len(self.held)
        draws = positions.reshape(-1, positions.shape[-1]).astype(np.int64)
        flat = draws + np.arange(len(draws))[:, None] * patients
        times = np.bincount(flat.ravel(), minlength=len(draws) * patients).reshape(len(draws), patients)
        counted = times @ self.held
        with np.errstate(invalid="ignore"):
            means: Values = np.nanmean(times @ self.filled / counted, axis=1)
        return means.reshape(positions.shape[:-1])
