"""The surrogate sampler: its arithmetic against brute force, its manners in all kinds of studies, its worth against chance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from archfront.search.pareto import hypervolume, non_dominated
from archfront.search.surrogate.candidates import ORIGIN, Candidate, Observed
from archfront.search.surrogate.gp import JITTER, Kernel, Posterior, _evidence, prior
from archfront.search.surrogate.history import SPREAD, History
from archfront.search.surrogate.improvement import Improvement
from archfront.search.surrogate.model import chosen, milestone
from archfront.search.surrogate.sampler import SurrogateSampler
from archfront.search.surrogate.sites import Sites
from archfront.search.surrogate.warp import Ranks, Straight
from archfront.space.errors import ArchfrontError

optuna.logging.set_verbosity(optuna.logging.ERROR)

SITES = Sites(
    {
        "op": CategoricalDistribution(("conv", "pool", "skip")),
        "width": IntDistribution(8, 32, step=8),
        "kernel": CategoricalDistribution((3, 5, 7)),
        "rate": FloatDistribution(1e-3, 1.0, log=True),
    }
)


def run(
    objective: Callable[[Trial], Any], sampler: optuna.samplers.BaseSampler, trials: int, objectives: int = 2
) -> Any:
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return study


def cells(trial: Trial) -> tuple[float, float]:
    """Six choices that act together on the first objective and add up to the second."""
    levels = [trial.suggest_categorical(f"edge{i}", "abcd") for i in range(6)]
    x = np.array(["abcd".index(level) for level in levels])
    error = float(((x - 2) ** 2).sum() + 3 * (x[0] == x[3]) - 4 * (x[1] == 3) * (x[2] == 1))
    return error, float((x * np.arange(1, 7)).sum())


# ---------------------------------------------------------------------- sites


def similarities(a: dict[str, Any], b: dict[str, Any]) -> list[float]:
    """The similarity of two candidates in every table."""
    first, second = SITES.features(SITES.levels([a, b]))
    return [float(part) for part in np.add.reduceat(first * second, np.r_[0, np.cumsum(SITES.widths)[:-1]])]


def test_products_of_features_are_similarities() -> None:
    a = {"op": "conv", "width": 8, "kernel": 3, "rate": 1e-3}
    b = {"op": "pool", "width": 24, "kernel": 7, "rate": 1.0}
    assert similarities(a, a) == pytest.approx([1, 1, 1, 1, 1])
    assert similarities(a, b) == pytest.approx([0, 1 - 2 / 3, 0, 0, 0])


def test_an_inactive_site_is_like_nothing_but_an_inactive_site() -> None:
    whole = {"op": "conv", "width": 8, "kernel": 3, "rate": 0.1}
    assert similarities({"op": "skip"}, {"op": "conv"}) == pytest.approx([0, 1, 1, 1, 1])
    assert similarities({"op": "conv"}, whole) == pytest.approx([1, 0, 0, 0, 0])


def test_sites_with_the_same_options_are_alike_by_how_often_each_is_taken() -> None:
    sites = Sites(
        {**{f"edge{i}": CategoricalDistribution("ab") for i in range(3)}, "other": CategoricalDistribution("xy")}
    )

    def totals(a: str, b: str) -> list[float]:
        rows = [dict(zip(sites.by_name, word, strict=True)) for word in (a, b)]
        first, second = sites.features(sites.levels(rows))
        return [float(part) for part in np.add.reduceat(first * second, np.r_[0, np.cumsum(sites.widths)[:-1]])[4:]]

    assert totals("aabx", "baay") == pytest.approx([1, 1])
    assert totals("aabx", "bbbx") == pytest.approx([1 - 2 / 3, 1 - 2 / 3])


def test_costs_are_alike_by_their_distance_as_a_share_of_the_range() -> None:
    sites = Sites({"op": CategoricalDistribution("ab")}, costs=2)
    first, second = sites.features(sites.levels([{"op": "a"}] * 2), np.array([[0.0, 0.5], [0.25, 9.0]]))
    alike = np.add.reduceat(first * second, np.r_[0, np.cumsum(sites.widths)[:-1]])
    assert alike == pytest.approx([1, 0.75, 0.5])


def test_numbers_as_categories_count_as_codes_and_as_sizes() -> None:
    near, far = (similarities({"kernel": 3}, {"kernel": other})[2:4] for other in (5, 7))
    assert near == pytest.approx([0, 0.5])
    assert far == pytest.approx([0, 0])


def test_every_level_gives_a_value_of_that_level() -> None:
    rng = np.random.default_rng(0)
    for name, site in SITES.by_name.items():
        for level in range(site.levels):
            value = site.value(level, rng)
            assert site.distribution._contains(site.distribution.to_internal_repr(value)), name
            assert site.level(value) == level


# ---------------------------------------------------------------------- models


def random_data(n: int = 12) -> tuple[Kernel, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    levels = np.stack([rng.integers(-1, count, n) for count in SITES.counts], axis=1)
    mean, deviation = prior(SITES.widths)
    return (
        Kernel(mean + 0.3 * deviation * rng.normal(size=len(mean)), SITES.widths),
        SITES.features(levels),
        rng.normal(size=n),
    )


def test_the_gradient_of_the_evidence_is_its_slope() -> None:
    kernel, features, y = random_data()
    _, slope = _evidence(kernel, features, y)
    for i in range(len(kernel.theta)):
        step = np.eye(len(kernel.theta))[i] * 1e-6
        up, down = (_evidence(Kernel(kernel.theta + s, SITES.widths), features, y)[0] for s in (step, -step))
        assert slope[i] == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-6)


def test_the_posterior_is_that_of_a_joint_normal_distribution() -> None:
    kernel, features, y = random_data()
    mean, deviation = Posterior(kernel, features[:8], y[:8])(features[8:])
    joint = kernel(features, features) + np.diag([kernel.noise + JITTER] * 8 + [0.0] * 4)
    assert np.linalg.eigvalsh(joint).min() > 0
    solved = joint[8:, :8] @ np.linalg.inv(joint[:8, :8])
    assert mean == pytest.approx(solved @ y[:8])
    assert deviation**2 == pytest.approx(np.diag(joint[8:, 8:] - solved @ joint[:8, 8:]))


def test_scores_follow_ranks_and_lead_back_to_values() -> None:
    values = np.array([5.0, 1.0, 1e6, 2.0, 3.0, 2.0])
    warp = Ranks(values)
    scores = warp(values)
    assert (np.argsort(scores, kind="stable") == np.argsort(values, kind="stable")).all()
    assert np.abs(scores).max() < 2
    assert warp.back(scores) == pytest.approx(values)
    better = warp.back(np.array([scores.min() - 1.0]))
    assert better < 1.0
    assert warp(better) == pytest.approx(scores.min() - 1.0)


def test_differences_below_the_noise_are_ties() -> None:
    warp = Ranks(np.array([1.0, 1.01, 2.0, 2.02, 3.0]), noise=0.1)
    assert warp(np.array([1.0, 2.0])) == pytest.approx(warp(np.array([0.98, 1.99])), abs=0.2)
    assert len(warp.scores) == 3


def test_a_straight_scale_keeps_proportions_up_to_the_middle_and_leads_back_to_values() -> None:
    values = np.array([5.0, 1.0, 1e6, 2.0, 3.0, 2.0])
    warp = Straight(values, middle=4.0)
    scores = warp(values)
    assert scores.mean() == pytest.approx(0, abs=1e-12)
    assert scores.std() == pytest.approx(1)
    assert warp.back(scores) == pytest.approx(values)
    step = np.diff(warp(np.array([0.0, 1.0, 2.0, 3.0, 4.0])))
    assert step == pytest.approx(np.full(4, step[0]))
    assert np.diff(warp(np.array([1e6, 2e6])))[0] < step[0] * 3


def test_values_closer_than_the_noise_are_ties_on_a_straight_scale() -> None:
    scores = Straight(np.array([1.0, 1.01, 2.0, 2.02, 3.0]), middle=2.0, noise=0.1)(np.array([1.0, 1.04, 2.0, 1.96]))
    assert scores[0] == scores[1]
    assert scores[2] == scores[3]


def test_the_expected_improvement_is_the_mean_over_all_pairs_of_outcomes() -> None:
    rng = np.random.default_rng(0)
    gain = Improvement(rng.random((6, 2)), np.ones(2))
    outcomes = rng.random((5, 3, 2)) * 1.2
    pairs = [np.stack((outcomes[i, :, 0], outcomes[j, :, 1]), axis=1) for i, j in product(range(5), repeat=2)]
    assert gain.expected(outcomes) == pytest.approx(np.mean([gain(pair) for pair in pairs], axis=0))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_improvement_is_the_difference_of_two_hypervolumes(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    front, points = rng.random((9, objectives)) * 1.2, rng.random((30, objectives)) * 1.2
    reference = np.ones(objectives)
    before = hypervolume(front, reference)
    expected = [hypervolume(np.vstack((front, point)), reference) - before for point in points]
    assert Improvement(front, reference)(points) == pytest.approx(expected, abs=1e-12)


def test_improvement_over_nothing_is_the_whole_box() -> None:
    gain = Improvement(np.empty((0, 2)), np.array([2.0, 3.0]))
    assert gain(np.array([[1.0, 1.0]])) == pytest.approx([2.0])


def test_a_model_never_learns_from_more_trials_than_it_can_hold() -> None:
    values = np.random.default_rng(0).random((5000, 2))
    rows = chosen(values, 100)
    assert len(rows) == len(set(rows)) == 100
    assert values[:, 0].argmin() in rows
    assert values[:, 1].argmin() in rows


def test_milestones_grow_by_a_quarter_and_depend_on_nothing_else() -> None:
    reached = [milestone(n) for n in range(1, 500)]
    assert all(m <= n < 1.25 * m + 1 for n, m in enumerate(reached, start=1))
    assert len(set(reached)) < 30


# ---------------------------------------------------------------------- what may be proposed


def conditional(trial: Trial) -> tuple[float, float]:
    depth = trial.suggest_int("depth", 1, 4)
    cost = 0.0
    for i in range(depth):
        if trial.suggest_categorical(f"op{i}", ["conv", "pool", "none"]) == "conv":
            cost += trial.suggest_categorical(f"kernel{i}", [3, 5, 7])
    return 20.0 / (1 + cost), cost + depth


def test_what_depends_on_what_is_learned_from_trials() -> None:
    study = run(conditional, optuna.samplers.RandomSampler(seed=0), 200)
    trials = study.trials
    sites = Sites({name: d for trial in trials for name, d in trial.distributions.items()})
    known = Observed(sites, sites.levels([trial.params for trial in trials]))
    rng = np.random.default_rng(0)
    pool = known.pool([trial.params for trial in trials[:5]], 300, 100, 2, rng)
    for i in range(len(pool.levels)):
        params = pool.candidate(i).params
        active = {f"op{j}" for j in range(params["depth"])}
        active |= {f"kernel{j}" for j in range(params["depth"]) if params[f"op{j}"] == "conv"}
        assert params.keys() == active | {"depth"}


def test_a_local_move_changes_at_most_two_sites() -> None:
    sites = Sites({f"edge{i}": CategoricalDistribution("abcd") for i in range(6)})
    parent = dict.fromkeys(sites.by_name, "a")
    pool = Observed(sites, sites.levels([parent])).pool([parent], 200, 50, 1, np.random.default_rng(0))
    found = [pool.candidate(i) for i in range(250)]
    moves = [sum(c.params[s] != "a" for s in sites.by_name) for c in found if c.origin == "local move"]
    assert set(moves) <= {0, 1, 2}
    assert moves.count(1) >= 100
    assert sum(c.origin == "random" for c in found) == 50


# ---------------------------------------------------------------------- manners


def test_the_same_seed_gives_the_same_search_also_after_a_restart() -> None:
    whole = run(cells, SurrogateSampler(seed=3), 30)
    again = optuna.create_study(directions=["minimize"] * 2, sampler=SurrogateSampler(seed=3))
    again.add_trials(whole.trials[:24])
    again.optimize(cells, n_trials=6)
    assert [t.params for t in again.trials] == [t.params for t in whole.trials]


def test_maximising_is_minimising_the_opposite() -> None:
    def opposite(trial: Trial) -> tuple[float, float]:
        error, cost = cells(trial)
        return -error, cost

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SurrogateSampler(seed=1))
    study.optimize(opposite, n_trials=24)
    assert [t.params for t in study.trials] == [t.params for t in run(cells, SurrogateSampler(seed=1), 24).trials]


def test_nothing_is_evaluated_twice_while_anything_is_left() -> None:
    def small(trial: Trial) -> tuple[float, float]:
        a, b = trial.suggest_categorical("a", "xyz"), trial.suggest_int("b", 0, 3)
        return float(b), float("xyz".index(a) - b)

    study = run(small, SurrogateSampler(startup=4, seed=0), 12 + 4)
    proposed = [tuple(t.params.values()) for t in study.trials if ORIGIN in t.user_attrs]
    everything = set(product("xyz", range(4)))
    assert {tuple(t.params.values()) for t in study.trials} == everything
    assert len(set(proposed[:8])) == 8


def test_a_failed_candidate_is_not_proposed_again() -> None:
    study = optuna.create_study(directions=["minimize"], sampler=SurrogateSampler(startup=4, seed=0))
    failed = []
    for _ in range(30):
        trial = study.ask()
        x, y = trial.suggest_categorical("x", "abcdefgh"), trial.suggest_categorical("y", "abcdefgh")
        if ORIGIN in study.trials[trial.number].user_attrs:
            assert (x, y) not in failed
        if x < "d":
            failed.append((x, y))
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, float(ord(x) + ord(y)))
    assert failed


def test_several_workers_get_different_candidates() -> None:
    study = run(cells, SurrogateSampler(seed=0), 20)
    batch = []
    for _ in range(6):
        trial = study.ask()
        batch.append(tuple(trial.suggest_categorical(f"edge{i}", "abcd") for i in range(6)))
    assert len(set(batch)) == 6


def test_every_kind_of_parameter_and_a_conditional_one() -> None:
    def objective(trial: Trial) -> tuple[float, float, float]:
        x = trial.suggest_float("x", 0.0, 1.0)
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        count = trial.suggest_int("count", 1, 1000, log=True)
        step = trial.suggest_float("step", 0.0, 1.0, step=0.25)
        other = trial.suggest_int("other", 2, 8, step=3) if trial.suggest_categorical("has", [True, False]) else 0
        assert step in (0, 0.25, 0.5, 0.75, 1)
        assert other in (0, 2, 5, 8)
        return (x - 0.3) ** 2 + step, abs(np.log10(rate) + 2) + other, abs(count - 30) + x

    study = run(objective, SurrogateSampler(startup=8, seed=0), 24, objectives=3)
    assert all(t.state == TrialState.COMPLETE for t in study.trials)


def test_one_objective_is_brought_to_its_optimum() -> None:
    def objective(trial: Trial) -> float:
        return sum((trial.suggest_int(f"x{i}", 0, 7) - i) ** 2 for i in range(5)) * 1.0

    study = run(objective, SurrogateSampler(seed=0), 60, objectives=1)
    assert study.best_value == 0


def test_constraints_are_learned() -> None:
    def objective(trial: Trial) -> tuple[float, float]:
        error, cost = cells(trial)
        trial.set_constraint("cost", cost - 15)
        return error, cost

    study = run(objective, SurrogateSampler(seed=0), 60)
    broken = [t.constraints["cost"] > 0 for t in study.trials]
    assert np.mean(broken[40:]) <= 0.5 * np.mean(broken[:16])


def test_known_objectives_are_computed_not_modelled() -> None:
    def source(parents: Any, rng: np.random.Generator) -> list[Candidate]:
        """All candidates, with a cost that no model could guess: only one is worth anything."""
        return [
            Candidate({"a": a, "b": b}, "listed", (np.nan, -50.0 if (a, b) == ("y", 2) else 1.0))
            for a, b in product("xyz", range(4))
        ]

    study = optuna.create_study(
        directions=["minimize"] * 2, sampler=SurrogateSampler(startup=3, seed=0, source=source, reference=(9.0, 0.5))
    )
    for a, b in (("x", 0), ("z", 1), ("x", 3)):
        study.enqueue_trial({"a": a, "b": b})
    study.optimize(
        lambda t: (float(t.suggest_int("b", 0, 3)), 1.0 + t.suggest_categorical("a", "xyz").count("q")), n_trials=4
    )
    assert study.trials[3].params == {"a": "y", "b": 2}
    assert study.trials[3].user_attrs[ORIGIN] == "listed"


def test_what_is_known_of_candidates_helps_to_choose_among_them() -> None:
    """The error is a sum that no single choice tells much about; told the sum, the models find the best of 4,096 soon."""

    def objective(trial: Trial) -> float:
        return hidden([trial.suggest_categorical(f"edge{i}", "abcd") for i in range(6)])

    def hidden(choices: Any) -> float:
        return abs(float(sum((i + 1) * "abcd".index(choice) ** 2 for i, choice in enumerate(choices))) - 77.0)

    def sums(params: Any) -> list[float]:
        return [float(sum((i + 1) * "abcd".index(params[f"edge{i}"]) ** 2 for i in range(6)))]

    told = [run(objective, SurrogateSampler(seed=s, costs=sums), 30, objectives=1).best_value for s in range(3)]
    alone = [run(objective, SurrogateSampler(seed=s), 30, objectives=1).best_value for s in range(3)]
    assert sum(told) < sum(alone)
    assert max(told) <= 2


@pytest.mark.parametrize("given", [{"reference": (1.0,)}, {"noise": (0.1, 0.1, 0.1)}])
def test_settings_for_another_number_of_objectives_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ArchfrontError, match="needs 2 values"):
        run(cells, SurrogateSampler(**given), 1)


def test_too_few_random_trials_are_refused() -> None:
    with pytest.raises(ArchfrontError, match="at least 2"):
        SurrogateSampler(startup=1)


# ---------------------------------------------------------------------- worth


def test_it_comes_nearer_to_the_front_than_chance() -> None:
    reference = np.array([25.0, 40.0])

    def reached(sampler: optuna.samplers.BaseSampler) -> float:
        return hypervolume(np.array([t.values for t in run(cells, sampler, 60).trials]), reference)

    ours = [reached(SurrogateSampler(seed=seed)) for seed in range(3)]
    chance = [reached(optuna.samplers.RandomSampler(seed=seed)) for seed in range(3)]
    assert min(ours) > max(chance)


def test_the_spread_that_trials_state_counts_as_noise() -> None:
    def uncertain(trial: Trial) -> tuple[float, float]:
        trial.set_user_attr(SPREAD, [1.96, None])
        return cells(trial)

    stated = run(uncertain, SurrogateSampler(seed=2), 26)
    given = run(cells, SurrogateSampler(seed=2, noise=(1.0, 0.0)), 26)
    neither = run(cells, SurrogateSampler(seed=2), 26)
    assert [t.params for t in stated.trials] == [t.params for t in given.trials]
    assert [t.params for t in stated.trials] != [t.params for t in neither.trials]


@pytest.mark.parametrize("feasible", [True, False])
def test_a_history_read_in_parts_holds_what_one_read_at_once_holds(feasible: bool) -> None:
    """Among others: the front of the good trials, or of the usable ones where none is good."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(directions=["minimize", "maximize"])
    parts = History(study)
    for number in range(120):
        trial = study.ask()
        a, b = trial.suggest_categorical("a", "xyz"), trial.suggest_int("b", 0, 9)
        if a == "x" and number > 20:
            trial.suggest_categorical("late", "pq")
        if number % 7 == 0:
            trial.set_constraint("bound", 1.0 if feasible else -1.0)
        elif not feasible:
            trial.set_constraint("other", 1.0)
        if number % 11 == 0:
            study.tell(trial, state=TrialState.FAIL)
        elif number < 118:
            study.tell(
                trial, [float(rng.integers(20)) + (np.inf if number % 13 == 0 else 0), float(b + rng.integers(9))]
            )
        if number % 5 == 0:
            parts.read(study)
            _ = parts.levels, parts.constraints, parts.taken(parts.levels)
    whole = History(study)
    for history in (parts, whole):
        history.read(study)
    assert (parts.levels == whole.levels).all()
    assert np.array_equal(parts.constraints, whole.constraints, equal_nan=True)
    every = parts.sites.levels([trial.params for trial in study.trials])
    assert parts.taken(every).all()
    assert not parts.taken(np.full((1, every.shape[1]), 99)).any()
    rows = np.flatnonzero(whole.good if whole.good.any() else whole.usable)
    assert parts.front == whole.front == rows[non_dominated(whole.values[rows])].tolist()
    broken = np.nan_to_num(whole.constraints, nan=-1).max(axis=1) > 0
    assert (whole.good == (np.isfinite(whole.values).all(axis=1) & ~broken)).all()


# ---------------------------------------------------------------------- worth
