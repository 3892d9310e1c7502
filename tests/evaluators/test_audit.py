"""Rank statistics against scipy, brute force, and cases whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from archfront.evaluators.audit import (
    advantage,
    agreement,
    beyond,
    bootstrap,
    ceiling,
    kendall,
    partial,
    ranks,
    spearman,
)

RNG = np.random.default_rng(0)
PAIRS = [
    (RNG.normal(size=20), RNG.normal(size=20)),
    (RNG.integers(0, 4, 30).astype(float), RNG.integers(0, 4, 30).astype(float)),  # many ties
    (np.arange(9.0), np.arange(9.0) ** 3),
    (np.arange(9.0), -np.arange(9.0)),
]


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_correlations_are_those_of_scipy(a: np.ndarray, b: np.ndarray) -> None:
    assert float(spearman(a, b)) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert float(kendall(a, b)) == pytest.approx(stats.kendalltau(a, b).statistic)


def test_kendall_counts_pairs_in_the_same_order() -> None:
    a, b = PAIRS[0]
    pairs = list(itertools.combinations(range(20), 2))
    same = sum((a[i] - a[j]) * (b[i] - b[j]) > 0 for i, j in pairs)
    assert float(kendall(a, b)) == pytest.approx((same - (len(pairs) - same)) / len(pairs))


def test_bootstrap_samples_are_computed_like_the_whole() -> None:
    a, b = PAIRS[1]
    draws = bootstrap(30, 5)
    for sample, rho, tau in zip(draws, spearman(a[draws], b[draws]), kendall(a[draws], b[draws]), strict=True):
        assert rho == pytest.approx(stats.spearmanr(a[sample], b[sample]).statistic)
        assert tau == pytest.approx(stats.kendalltau(a[sample], b[sample]).statistic)


def test_the_interval_covers_the_truth_of_a_known_distribution_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    truth = 6 / np.pi * np.arcsin(0.7 / 2)  # rho of two normal variables with correlation 0.7
    for trial in range(60):
        a = rng.normal(size=60)
        b = 0.7 * a + np.sqrt(1 - 0.49) * rng.normal(size=60)
        found = agreement(a, b, 5, bootstrap(60, 200, trial)).spearman
        covered += found.low <= truth <= found.high
    assert covered >= 50


def test_a_perfect_rating_recalls_all_and_regrets_nothing() -> None:
    accuracy = RNG.random(16)
    found = agreement(np.exp(accuracy), accuracy, 4, bootstrap(16, 50))
    assert found.spearman == found.kendall == (1, 1, 1)
    assert (found.recall, found.regret) == (1, 0)


def test_regret_and_recall_by_hand() -> None:
    accuracy = [0.5, 0.9, 0.7, 0.8, 0.6]
    rating = [1, 2, 5, 4, 3]
    found = agreement(rating, accuracy, 2, bootstrap(5, 10))
    assert found.recall == 0.5  # of 1 and 3 it has 3
    assert found.regret == pytest.approx(0.9 - 0.7)
    assert agreement([0, 1, 1, 0, 0], accuracy, 2, bootstrap(5, 10)).regret == pytest.approx(0.9 - 0.8)


def test_the_figures_of_several_trainings_are_means_over_them() -> None:
    accuracy = RNG.random(16)
    ratings = accuracy + RNG.normal(0, 0.3, (3, 16))
    draws = bootstrap(16, 200)
    each = [agreement(rating, accuracy, 4, draws) for rating in ratings]
    found = agreement(ratings, accuracy, 4, draws)
    assert found.spearman.value == pytest.approx(np.mean([stats.spearmanr(r, accuracy).statistic for r in ratings]))
    assert found.kendall.value == pytest.approx(np.mean([stats.kendalltau(r, accuracy).statistic for r in ratings]))
    assert found.recall == pytest.approx(np.mean([one.recall for one in each]))
    assert found.regret == pytest.approx(np.mean([one.regret for one in each]))
    samples = [np.mean([stats.spearmanr(r[draw], accuracy[draw]).statistic for r in ratings]) for draw in draws]
    assert found.spearman[1:] == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))
    gain = advantage(ratings, accuracy, accuracy, draws)
    assert gain.value == pytest.approx(found.spearman.value - 1)
    assert gain.low == pytest.approx(found.spearman.low - 1)


def test_what_is_no_number_ranks_last_and_a_constant_rating_orders_nothing() -> None:
    assert ranks([3.0, np.nan, 1.0, -np.inf]).tolist() == [4, 1.5, 3, 1.5]
    found = agreement([2.0] * 6, np.arange(6.0), 2, bootstrap(6, 10))
    assert found.spearman == found.kendall == (0, 0, 0)


def test_the_advantage_over_itself_is_nothing_and_over_noise_is_sure() -> None:
    accuracy = np.arange(30.0)
    rating = accuracy + np.random.default_rng(0).normal(size=30)
    noise = np.random.default_rng(1).normal(size=30)
    draws = bootstrap(30)
    assert advantage(rating, rating, accuracy, draws) == (0, 0, 0)
    found = advantage(rating, noise, accuracy, draws)
    assert 0 < found.low < found.value < found.high
    expected = stats.spearmanr(rating, accuracy).statistic - stats.spearmanr(noise, accuracy).statistic
    assert found.value == pytest.approx(expected)


def test_a_partial_correlation_is_that_of_what_a_regression_on_the_known_leaves() -> None:
    rng = np.random.default_rng(3)
    size, depth = rng.normal(size=(2, 40))
    accuracy, rating = 2 * size + depth, size + depth + rng.normal(size=40)

    def rest(values: np.ndarray) -> np.ndarray:
        known = np.stack([ranks(size), np.ones(40)], 1)
        return ranks(values) - known @ np.linalg.lstsq(known, ranks(values), rcond=None)[0]

    expected = np.corrcoef(rest(rating), rest(accuracy))[0, 1]
    assert float(partial(rating, size, accuracy)) == pytest.approx(expected)
    found = beyond([rating, rating], size, accuracy, bootstrap(40))
    assert found.value == pytest.approx(expected)
    assert 0 < found.low < found.value < found.high


def test_counting_itself_tells_nothing_beyond_counting() -> None:
    size = np.arange(20.0)
    accuracy = size + np.random.default_rng(4).normal(size=20)
    assert beyond(size**3, size, accuracy, bootstrap(20, 50)) == (0, 0, 0)
    assert beyond(accuracy, size, accuracy, bootstrap(20, 50)).value == pytest.approx(1)


def test_the_ceiling_is_the_mean_over_pairs_of_seeds() -> None:
    accuracies = np.random.default_rng(2).normal(size=(3, 12)) + np.arange(12)
    rho, tau = ceiling(accuracies, bootstrap(12, 20))
    pairs = list(itertools.combinations(accuracies, 2))
    assert rho.value == pytest.approx(np.mean([stats.spearmanr(a, b).statistic for a, b in pairs]))
    assert tau.value == pytest.approx(np.mean([stats.kendalltau(a, b).statistic for a, b in pairs]))
    assert rho.low <= rho.value <= rho.high
