"""Rules from what blocks add up to, to the latency of a network: laws they recover, and what they never see."""

import math
from functools import partial

import numpy as np
import pytest

from archfront.hw_profiles.calibration import (
    KNOTS,
    Array,
    Sums,
    accuracy,
    affine,
    agreed,
    best_rule,
    corrected,
    kendall,
    leave_one_out,
    repeatability,
    slowed,
    spilling,
)

MB = 2.0**20


def networks(count: int, seed: int = 0) -> Sums:
    """Networks of 4 to 20 parts, 1 to 5 ms and 0.1 to 10 MiB of weights, independently."""
    rng = np.random.default_rng(seed)
    ms, parts = rng.uniform(1, 5, count), rng.integers(4, 20, count).astype(float)
    weights = MB * np.exp(rng.uniform(np.log(0.1), np.log(10), count))
    return Sums(ms, parts, weights, np.column_stack((parts, weights / MB)))


def share(weights: Array, knot: float) -> Array:
    return np.array([(w / knot) ** 4 / (1 + (w / knot) ** 4) for w in weights])


def error(predicted: Array, truth: Array) -> float:
    return float(np.abs(predicted / truth - 1).mean())


def test_networks_that_outgrow_a_cache_are_predicted_from_twelve_without_being_told_its_size() -> None:
    for knot in (KNOTS[4], 1.3 * KNOTS[6]):  # on the ladder, and between its rungs
        sums, unseen = networks(12), networks(50, seed=1)
        truths = [
            0.95 * s.ms + share(s.weights, knot) * (0.04 * s.parts + 0.3 * s.weights / MB) for s in (sums, unseen)
        ]
        found = best_rule(sums, truths[0])(unseen)
        assert error(found, truths[1]) < 0.03
        assert error(affine(sums, truths[0])(unseen), truths[1]) > 0.08


def test_spilling_recovers_its_own_law_exactly_and_no_factor_is_negative() -> None:
    sums = networks(12)
    truth = 1.1 * sums.ms + share(sums.weights, KNOTS[5]) * 0.2 * sums.parts
    np.testing.assert_allclose(spilling(KNOTS[5], sums, truth)(sums), truth, rtol=1e-6)
    cheaper = sums.ms - share(sums.weights, KNOTS[5]) * 0.02 * sums.parts  # a law that no cache has
    rule = spilling(KNOTS[5], sums, cheaper)
    more = sums._replace(weights=2 * sums.weights, refill=2 * sums.refill)
    assert (rule(more) >= rule(sums)).all()


def test_blocks_that_slow_down_with_the_weights_of_the_network_are_predicted_exactly() -> None:
    sums, unseen = networks(12), networks(30, 1)

    def law(s: Sums) -> Array:
        return 0.05 + (0.9 + 0.4 * s.weights / 2**20) * s.ms

    np.testing.assert_allclose(best_rule(sums, law(sums))(unseen), law(unseen), rtol=1e-6)
    faster = (1.0 - 1e-3 * sums.weights / sums.weights.max()) * sums.ms  # a law that no cache has
    rule = slowed(sums, faster)
    assert (rule(sums._replace(weights=2 * sums.weights)) >= rule(sums)).all(), "no factor is negative"


def test_an_affine_law_is_left_to_the_affine_rule() -> None:
    sums = networks(12)
    truth = 0.5 + 0.8 * sums.ms
    np.testing.assert_allclose(best_rule(sums, truth)(networks(5, 1)), 0.5 + 0.8 * networks(5, 1).ms, rtol=1e-6)


def test_the_correction_catches_what_no_sum_can_and_is_tried_from_eight_networks_on() -> None:
    sums = networks(16)
    truth = 0.3 * sums.ms * sums.parts**0.6
    plain, ridge = (leave_one_out(fit, sums, truth) for fit in (affine, partial(corrected, affine)))
    assert error(ridge, truth) < error(plain, truth) / 2
    assert error(best_rule(sums, truth)(networks(30, 1)), 0.3 * networks(30, 1).ms * networks(30, 1).parts ** 0.6) < 0.1
    few = sums.rows(slice(7))
    fits = [affine, slowed, *(partial(spilling, knot) for knot in KNOTS)]
    candidates = [fit(few, truth[:7])(sums) for fit in fits]
    assert any(np.allclose(best_rule(few, truth[:7])(sums), candidate) for candidate in candidates)


def test_leave_one_out_never_sees_the_network_it_predicts() -> None:
    sums = networks(6)
    truth = 1 + 2 * sums.ms
    spoilt = truth.copy()
    spoilt[2] = 100.0
    assert leave_one_out(affine, sums, spoilt)[2] == pytest.approx(truth[2])


def test_accuracy_equals_hand_computed_figures() -> None:
    found = accuracy([1.04, 2.16, 2.4], [1.0, 2.0, 3.0])
    assert (found.networks, found.tau) == (3, pytest.approx(1))
    assert found.error == pytest.approx((0.04 + 0.08 + 0.2) / 3)
    assert found.rms == pytest.approx(math.sqrt((0.0016 + 0.0064 + 0.04) / 3))
    assert (found.within_5, found.within_10) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_processes_agree_once_each_is_brought_to_the_level_of_all() -> None:
    """Levels that differ by far more than the models must not decide between the models."""
    rng = np.random.default_rng(0)
    models, levels = np.exp(0.01 * np.arange(20)), np.exp(rng.normal(0, 0.1, 7))
    noise = np.exp(rng.normal(0, 0.001, (20, 7)))
    found = agreed(models[:, None] * levels * noise)
    np.testing.assert_allclose(found / found[0], models, rtol=2e-3)
    assert found[0] == pytest.approx(float(np.median(levels)), rel=5e-3)
    assert kendall(found, models) == pytest.approx(1)


def test_repeatability_is_what_two_halves_of_the_processes_differ_by() -> None:
    truth = np.exp(np.linspace(0, 1, 9))
    same = np.tile(truth[:, None], (1, 6))
    assert repeatability(same) == (pytest.approx(0), pytest.approx(1))
    wobble = 0.02 * (-1.0) ** np.arange(9)
    halves = np.column_stack([truth * np.exp(wobble * (-1) ** process) for process in range(6)])
    deviation, _ = repeatability(halves)
    assert deviation == pytest.approx(0.04, rel=0.15)
    assert all(math.isnan(value) for value in repeatability(same[:, :1]))
