"""Samplers by name."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from archfront.hw_profiles.cost import cost, part_cost
from archfront.hw_profiles.metrics import Measurement
from archfront.search.budget import Budget
from archfront.search.evaluation import Outcome
from archfront.search.feasible import Region
from archfront.search.propose import Proposer
from archfront.search.samplers import SAMPLERS, make_sampler
from archfront.search.storage import SCHEME
from archfront.search.surrogate.history import SPREAD
from archfront.search.surrogate.sampler import SurrogateSampler
from archfront.search.trials import TrialLog
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.presets import preset_named
from archfront.space.space import Space
from archfront.space.types import Image

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_proposes_in_a_study_with_two_objectives(name: str) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler(name, 4, seed=0))
    study.optimize(lambda t: (t.suggest_categorical("a", [1, 2, 3]), t.suggest_categorical("b", [1, 2, 3])), n_trials=6)
    assert len(study.trials) == 6


def test_the_surrogate_starts_with_as_many_random_candidates_as_the_population() -> None:
    sampler = make_sampler("surrogate", 24, seed=7)
    assert isinstance(sampler, SurrogateSampler)
    assert (sampler.startup, sampler.seed) == (24, 7)


def test_a_misspelt_sampler_gets_a_suggestion() -> None:
    with pytest.raises(ArchfrontError, match="did you mean 'surrogate'"):
        make_sampler("surogate", 4, seed=0)


def test_a_budget_that_leaves_one_architecture_is_used_up_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mutations are looked for once, not as often as a mutation is tried."""
    space = preset_named("micro").make(Image(1, 8, 8), 10)
    (least, _) = space.graph.root.extremes(params := lambda spec, x: (part_cost(spec, x).params,), 1)

    def known(architecture: Architecture) -> dict[str, float]:
        return {"params": cost(architecture).params}

    region = Region(space, Budget.parse(f"params<={least[0]:.0f}"), ("params",), params, {}, known, str)
    log = TrialLog(f"{SCHEME}{tmp_path / 'study.journal'}", "s", ("accuracy", "flops"), make_sampler("random", 4, 0))
    proposer = Proposer(space, region, log, "random", seed=0)
    monkeypatch.setattr("archfront.space.space.TRIES", 20)
    asked: list[Architecture] = []
    mutate = Space.mutate
    monkeypatch.setattr(Space, "mutate", lambda *given: asked.append(given[1]) or mutate(*given))
    first = proposer.next()
    assert first is not None
    measured = {"supernet_accuracy": Measurement(0.5, "measured")}
    proposer.record(first.architecture, Outcome(cost(first.architecture).measurements() | measured, "", 0.0))
    assert proposer.next() is None
    assert asked == [first.architecture]


@pytest.mark.parametrize("listed", [10_000, 40])
def test_what_is_left_is_gone_through_once_and_not_again_for_every_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    """Bounds on the sums of parts may let through much that the last word on latency refuses."""
    for name, value in (("ASKS", 0), ("MUTATIONS", 0), ("LISTED", listed)):
        monkeypatch.setattr(f"archfront.search.propose.{name}", value)
    space = preset_named("micro").make(Image(1, 8, 8), 10)
    (least, _) = space.graph.root.extremes(params := lambda spec, x: (part_cost(spec, x).params,), 1)
    budget = Budget.parse(f"params<={1.2 * least[0]:.0f}")
    inside = list(space.within(Region(space, budget, ("params",), params, {}, lambda _: {}, str).bounds))
    wanted, judged = [inside[3], inside[17], inside[-1]], []

    def known(architecture: Architecture) -> dict[str, float]:
        judged.append(architecture)
        return {"params": 0.0 if architecture in wanted else 1e9}

    log = TrialLog(f"{SCHEME}{tmp_path / 'study.journal'}", "s", ("accuracy", "flops"), make_sampler("random", 4, 0))
    proposer = Proposer(space, Region(space, budget, ("params",), params, {}, known, str), log, "random", seed=0)
    found = [proposal.architecture for proposal in iter(proposer.next, None)]
    assert proposer.next() is None
    assert len(inside) > 40
    assert found == [architecture for architecture in wanted if architecture in inside[:listed]]
    assert judged == inside[:listed]


def test_a_search_tells_its_sampler_how_uncertain_values_are_also_when_it_goes_on(tmp_path: Path) -> None:
    space = preset_named("micro").make(Image(1, 8, 8), 10)

    def known(architecture: Architecture) -> dict[str, float]:
        return {"macs": cost(architecture).macs}

    region = Region(space, Budget.parse(""), ("macs",), lambda spec, x: (part_cost(spec, x).macs,), {}, known, str)
    url = f"{SCHEME}{tmp_path / 'study.journal'}"
    log = TrialLog(url, "s", ("accuracy", "flops"), make_sampler("surrogate", 4, seed=0))
    proposer = Proposer(space, region, log, "surrogate", seed=0)
    for number in range(6):
        proposal = proposer.next()
        assert proposal is not None
        counted = cost(proposal.architecture).measurements()
        measured = {"supernet_accuracy": Measurement(0.5 + 0.01 * number, "measured", 0.02, 400)}
        proposer.record(proposal.architecture, Outcome(counted | measured, "", 0.0))
    again = TrialLog(url, "s", ("accuracy", "flops"), make_sampler("surrogate", 4, seed=0))
    for learned in (log.memory, again.memory):
        assert [trial.user_attrs[SPREAD] for trial in learned.trials] == [[0.02, None]] * 6
    assert [trial.origin for trial in again.trials[:4]] == ["random start"] * 4
    assert "random start" not in [trial.origin for trial in again.trials[4:]]
