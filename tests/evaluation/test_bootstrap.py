"""Bootstrap intervals: scipy called independently, coverage in a simulation, and the edges."""

import numpy as np
import pytest
from scipy import stats

from nasoseg.evaluation.bootstrap import interval, interval_of_difference, mean_of_means


def scipys(data, statistic, *, resamples, seed, **options):
    """scipy's BCa interval, at the level raised for the number of patients."""
    n = min(map(len, data))
    level = 1 - 2 * stats.norm.cdf(stats.t.ppf(0.025, n - 1) * np.sqrt(n / (n - 1)))
    rng = np.random.default_rng(seed)
    found = stats.bootstrap(
        data, statistic, n_resamples=resamples, method="BCa", rng=rng, confidence_level=level, **options
    )
    return pytest.approx(tuple(found.confidence_interval), abs=1e-12)


def holey(seed=0, patients=15):
    """Values with a patient's own level, and holes."""
    rng = np.random.default_rng(seed)
    values = rng.normal([0.9, 0.7, 0.5], 0.05, (patients, 3)) + rng.normal(0, 0.05, (patients, 1))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:2] = [[0.8, np.nan, 0.4], [np.nan, 0.6, np.nan]]
    return values


def by_hand(values):
    """The headline, written another way."""
    columns = [column[~np.isnan(column)] for column in np.asarray(values).T]
    return np.mean([column.mean() for column in columns if len(column)])


def test_headline_is_the_mean_of_the_structures_means():
    values = np.array([[0.8, 0.4, np.nan], [0.6, np.nan, np.nan]])
    assert mean_of_means(values) == pytest.approx((0.7 + 0.4) / 2)  # the third structure has no value
    assert np.isnan(mean_of_means(np.full((2, 2), np.nan)))
    assert mean_of_means(holey()) == pytest.approx(by_hand(holey()))


def test_one_structure_is_scipys_interval_of_a_mean():
    values = np.random.default_rng(1).beta(8, 2, 30)
    assert interval(values[:, None], resamples=500, seed=3) == scipys((values,), np.mean, resamples=500, seed=3)


def test_several_structures_draw_whole_patients():
    values = holey()

    def drawn(positions):
        return by_hand(values[positions])

    patients = np.arange(len(values))
    expected = scipys((patients,), drawn, resamples=200, seed=5, vectorized=False)
    assert interval(values, resamples=200, seed=5) == expected
    bottom = np.full((4, 3), np.nan)
    assert interval(np.vstack([values, bottom]), resamples=200, seed=5) == expected  # patients without a value


def test_difference_draws_both_sides():
    first, second = np.random.default_rng(2).beta(8, 2, (2, 20))
    second = second[:12]
    found = interval_of_difference(first[:, None], second[:, None], resamples=300, seed=4)
    difference = lambda one, two, axis: one.mean(axis=axis) - two.mean(axis=axis)  # noqa: E731
    assert found == scipys((first, second), difference, resamples=300, seed=4)


def test_batches_do_not_change_the_interval(monkeypatch):
    values = holey()
    whole = interval(values, resamples=400)
    monkeypatch.setattr("nasoseg.evaluation.bootstrap._MOST_DRAWN", 20 * len(values))
    assert interval(values, resamples=400) == pytest.approx(whole)


def test_coverage_is_nominal():
    """Of 400 simulated tables of 30 patients, 95 % of the intervals hold the true headline: within 3 deviations.

    Structures of a patient go together (level), are skewed as DSC is, and some are missing. Drawing single values
    instead of patients, which would be wrong, covers too rarely: the test can tell.
    """
    rng = np.random.default_rng(0)
    tables, patients, truth = 400, 30, np.array([0.9, 0.75, 0.6])
    level = (8 / 10 - rng.beta(8, 2, (tables, patients, 1))) * -0.3
    values = truth + level + rng.normal(0, 0.03, (tables, patients, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    ends = np.array([interval(of, resamples=600, seed=i) for i, of in enumerate(values)])
    covered = ((ends[:, 0] <= truth.mean()) & (truth.mean() <= ends[:, 1])).mean()
    deviation = np.sqrt(0.95 * 0.05 / tables)
    assert abs(covered - 0.95) < 3 * deviation

    centred = values - np.nanmean(values, axis=1, keepdims=True)
    error = np.sqrt(np.nanvar(centred, axis=(1, 2)) / (~np.isnan(values)).sum(axis=(1, 2)))
    headlines = np.array([mean_of_means(of) for of in values])
    as_if_independent = (np.abs(headlines - truth.mean()) <= 1.96 * error).mean()
    assert as_if_independent < 0.95 - 6 * deviation


def test_the_same_seed_gives_the_same_and_another_another():
    assert interval(holey(), resamples=300, seed=1) == interval(holey(), resamples=300, seed=1)
    assert interval(holey(), resamples=300, seed=1) != interval(holey(), resamples=300, seed=2)


@pytest.mark.parametrize("values", [np.empty((0, 2)), np.array([[0.5, 0.7]]), np.full((5, 2), np.nan)])
def test_fewer_than_two_patients_have_no_interval(values):
    assert np.isnan(interval(values, resamples=50)).all()
    assert np.isnan(interval_of_difference(values, holey(), resamples=50)).all()


def test_width_of_a_mean_is_students():
    """Of many normal values the interval is that of the t distribution; of few it is not much narrower."""
    values = np.random.default_rng(5).normal(0.7, 0.1, 400)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert interval(values[:, None], resamples=4000) == pytest.approx(expected, abs=0.001)
    few = stats.norm.isf(np.arange(1, 9) / 9) * 0.1
    width = np.diff(interval(few[:, None], resamples=4000))[0]
    assert width == pytest.approx(np.diff(stats.t.interval(0.95, 7, 0, stats.sem(few)))[0], rel=0.1)


def test_two_patients_have_the_range_of_their_values():
    assert interval(np.array([[0.4], [0.6]]), resamples=200) == (0.4, 0.6)


def test_equal_values_have_a_point():
    assert interval(np.full((6, 1), 0.25), resamples=50) == (0.25, 0.25)
    assert interval(np.zeros((6, 3)), resamples=50) == (0.0, 0.0)
