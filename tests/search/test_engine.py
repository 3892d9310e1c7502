"""A whole search on real images: budget kept, resumed without loss, bad candidates survived, budgets explained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from archfront.evaluators.accuracy import score
from archfront.evaluators.train import Diverged, read_checkpoint
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import Measurement
from archfront.hw_profiles.profile import LatencyError
from archfront.hw_profiles.runtimes import RUNTIMES
from archfront.search.budget import BudgetError
from archfront.search.config import ConfigError, StudyConfig
from archfront.search.engine import Search
from archfront.search.final import load_finalists, ranked_front
from archfront.search.finishing import Finish
from archfront.search.known import load_known
from archfront.search.progress import Silent
from archfront.search.study import Study, StudyError
from archfront.search.trials import Trial
from archfront.space.architecture import Architecture
from archfront.space.references import reference

from .conftest import SPACE, keep_table, quick, study_at


class Recorder(Silent):
    """Keeps the notes of a search."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(path: Path, config: StudyConfig) -> tuple[Search, Recorder]:
    recorder = Recorder()
    search = Search(study_at(path, config), config, recorder)
    search.run()
    keep_table(search)
    return search, recorder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, space_file: Path) -> tuple[Search, Recorder]:
    """One finished search that several tests look at."""
    return run(tmp_path_factory.mktemp("finished") / "study", quick(space_file, budget="params<=8k"))


def test_every_candidate_keeps_the_exact_budget_and_none_comes_twice(finished: tuple[Search, Recorder]) -> None:
    search, _ = finished
    trials = search.log.trials
    assert len(trials) == 12
    assert len({trial.architecture for trial in trials}) == 12
    for trial in trials:
        assert trial.complete
        exact = cost(trial.architecture)
        assert exact.params <= 8000
        assert trial.values["params"] == exact.params == sum(p.numel() for p in trial.architecture.build().parameters())
        assert trial.measurements["params"].provenance == "exact"
        assert trial.measurements["predicted_latency_ms"].provenance == "predicted"
        assert trial.measurements["supernet_accuracy"].provenance == "measured"
        assert trial.choices == search.space.choices(trial.architecture)


def test_a_least_memory_is_kept_by_whole_networks_whatever_their_parts_need(tmp_path: Path, space_file: Path) -> None:
    search = Search(Study(tmp_path / "study"), quick(space_file), Silent())
    peaks = sorted(cost(architecture).peak_bytes for architecture in search.space)
    half = peaks[len(peaks) // 2]
    bounded = Search(Study(tmp_path / "study"), quick(space_file, budget=f"memory>={half}"), Silent())
    bounded.exact_region.check()
    kept = [architecture for architecture in bounded.space if bounded.exact_region.accepts(architecture)]
    assert len(kept) == sum(peak >= half for peak in peaks)


def test_the_space_and_the_reach_of_the_budget_are_told_before_anything_is_trained(
    finished: tuple[Search, Recorder],
) -> None:
    search, recorder = finished
    text = "\n".join(recorder.notes)
    everything = [cost(a).params for a in search.space]
    assert f"{search.space.size:,} architectures" in text
    assert f"{min(everything) / 1e3:.4g} K to {max(everything) / 1e3:.4g} K (exact)" in text


def test_finalists_are_measured_and_their_weights_give_the_reported_accuracies(
    finished: tuple[Search, Recorder],
) -> None:
    search, _ = finished
    finalists = load_finalists(search.study)
    assert len(finalists) == 2
    assert sum(f.picked for f in finalists) == 1
    for finalist in finalists:
        assert finalist.measurements["latency_ms"].provenance == "measured"
        network = finalist.architecture.build()
        _, tensors = read_checkpoint(search.study.weights(finalist.architecture))
        state = network.state_dict()
        state |= {
            name.split("/", 1)[1]: t for name, t in tensors.items() if name.split("/", 1)[0] in ("weight", "buffer")
        }
        network.load_state_dict(state)
        network.eval()
        for split, name in ((search.data.validation, "accuracy"), (search.data.test, "test_accuracy")):
            assert score(network, split, search.task).value == finalist.measurements[name].value


def test_a_finished_search_is_not_done_again(finished: tuple[Search, Recorder]) -> None:
    search, _ = finished
    before = search.study.final_file.read_bytes()
    again, _ = run(search.study.path, search.config)
    assert search.study.final_file.read_bytes() == before
    assert len(again.log.trials) == 12


def test_more_trials_continue_a_finished_search(finished: tuple[Search, Recorder], tmp_path: Path) -> None:
    search, _ = finished
    copy = tmp_path / "renamed"
    shutil.copytree(search.study.path, copy)
    more = search.config.model_copy(update={"search": search.config.search.model_copy(update={"trials": 15})})
    again, _ = run(copy, more)
    assert len(again.log.trials) == 15
    assert again.log.trials[:12] == search.log.trials


def test_a_better_candidate_that_came_after_the_front_was_finished_becomes_a_finalist(
    finished: tuple[Search, Recorder], tmp_path: Path
) -> None:
    first, _ = finished
    copy = tmp_path / "renamed"
    shutil.copytree(first.study.path, copy)
    search = Search(Study(copy), first.config, Silent())
    trials, before = search.log.trials, load_finalists(search.study)
    known = {trial.architecture for trial in trials}
    left = next(a for a in search.space if a not in known and search.region.accepts(a))
    best = Measurement(1.0, "measured")
    measurements = {**trials[0].measurements, search.config.rating: best}
    more = [*trials, replace(trials[0], number=99, architecture=left, measurements=measurements)]
    after = [finalist.number for finalist in Finish(search, search.raters).run(more)]
    assert after[: len(before)] == [finalist.number for finalist in before]
    assert 99 in after
    assert {t.number for t in islice(ranked_front(more, search.metrics), search.config.final.members)} <= set(after)


def unfinished(first: Search, copy: Path) -> tuple[Search, Recorder, list[Trial]]:
    """A copy of a search before anything was fine-tuned, and its trials, the best first."""
    shutil.copytree(first.study.path, copy, ignore=shutil.ignore_patterns("final*"))
    recorder = Recorder()
    search = Search(Study(copy), first.config, recorder)
    return search, recorder, list(ranked_front(search.log.trials, search.metrics))


class Unlucky(Finish):
    """Fine-tunes nothing but what it is told to."""

    spared: frozenset[Architecture] = frozenset()

    def _tuned(self, architecture: Architecture) -> dict[str, Measurement]:
        if architecture not in self.spared:
            raise Diverged("the loss became nan at step 7 of 40")
        return super()._tuned(architecture)


def test_a_member_whose_fine_tuning_diverges_is_replaced_by_the_next_best(
    finished: tuple[Search, Recorder], tmp_path: Path
) -> None:
    search, recorder, ranked = unfinished(finished[0], tmp_path / "study")
    finish = Unlucky(search, search.raters)
    with pytest.raises(
        StudyError, match=r"none of the 6 best candidates could be fine-tuned and run; the first: .* step 7 of 40"
    ):
        finish.run(search.log.trials)
    finish = Unlucky(search, search.raters)
    finish.spared = frozenset(trial.architecture for trial in ranked[1:])
    assert [finalist.number for finalist in finish.run(search.log.trials)] == [trial.number for trial in ranked[1:3]]
    assert f"Network {ranked[0].number} is left out: the loss became nan at step 7 of 40" in recorder.notes


def test_a_member_that_the_device_cannot_run_is_replaced_by_the_next_best(
    finished: tuple[Search, Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, recorder, ranked = unfinished(finished[0], tmp_path / "study")
    runtime = type(RUNTIMES[search.latency.profile.runtime])
    convert = runtime.prepare

    def refuse(self: object, name: str, *arguments: Any) -> Any:
        if name == ranked[0].architecture.digest:
            raise LatencyError("operator Round is not supported")
        return convert(self, name, *arguments)

    monkeypatch.setattr(runtime, "prepare", refuse)
    numbers = [finalist.number for finalist in Finish(search, search.raters).run(search.log.trials)]
    assert sorted(numbers) == sorted(trial.number for trial in ranked[1:3])
    assert f"Network {ranked[0].number} is left out: operator Round is not supported" in recorder.notes


def test_other_settings_under_the_same_name_are_refused(finished: tuple[Search, Recorder]) -> None:
    search, _ = finished
    other = search.config.model_copy(update={"seed": 5})
    with pytest.raises(StudyError, match="started with other settings: seed was 0, now 5"):
        run(search.study.path, other)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            "params<=100",
            r"no architecture of the space keeps params <= .*: the least that it reaches is .*times the bound.*Nearest",
        ),
        ("params>=1G", r"the most that it reaches is"),
        ("flops<=1k, params<=8k", r"no architecture of the space keeps macs"),
        ("latency<=0.0000001ms", r"no architecture of the space keeps latency_ms"),
    ],
)
def test_an_impossible_budget_ends_at_once_with_the_nearest_architecture(
    config: StudyConfig, tmp_path: Path, budget: str, message: str
) -> None:
    with pytest.raises(BudgetError, match=f"(?s){message}"):
        run(tmp_path / "study", config.model_copy(update={"budget": budget}))
    assert not (tmp_path / "study" / "supernet").exists()


def test_bounds_that_exclude_each_other_name_both(config: StudyConfig, tmp_path: Path) -> None:
    probe = Search(Study(tmp_path / "probe"), config, Silent())
    space = probe.space
    largest = max(space, key=lambda a: cost(a).params)
    smallest = min(space, key=lambda a: cost(a).macs)
    both = f"params>={cost(largest).params}, flops<={cost(smallest).macs}"
    with pytest.raises(
        BudgetError, match=r"(?s)can be kept alone, but no architecture keeps all. With every bound moved by the factor"
    ):
        run(tmp_path / "study", config.model_copy(update={"budget": both}))


def test_a_candidate_that_fails_becomes_a_failed_trial_with_its_reason(
    config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space_file = tmp_path / "fragile.py"
    space_file.write_text(
        SPACE.replace(
            "kernel=one_of(3, 5), expand=one_of(1.0, 2.0)", "kernel=one_of(3, 5), gate=one_of(None, Fragile())"
        ).replace(
            "def tiny",
            '''
import torch
from torch import nn
from archfront.space import Gate


class FragileModule(nn.Module):
    """Fails when it is scored, not when it is trained, measured or exported."""

    def forward(self, x):
        if not self.training and x.shape[0] > 100:
            raise RuntimeError("out of imaginary memory")
        return x * 0.5


class Fragile(Gate):
    """A gate that cannot be evaluated."""

    def build(self, x):
        return FragileModule()


def tiny''',
        )
    )
    config = config.model_copy(
        update={"space": f"{space_file}:tiny", "data": config.data.model_copy(update={"limit": None})}
    )
    search, _ = run(tmp_path / "study", config)
    failed = [trial for trial in search.log.trials if not trial.complete]
    assert failed
    assert all("out of imaginary memory" in trial.reason for trial in failed)
    assert all("Fragile" in json.dumps(trial.architecture.to_dict()) for trial in failed)
    assert all(f.architecture not in {t.architecture for t in failed} for f in load_finalists(search.study))


def test_an_exhausted_space_ends_the_search(config: StudyConfig, tmp_path: Path) -> None:
    tight = config.model_copy(
        update={"search": config.search.model_copy(update={"trials": 500}), "budget": "params<=3k"}
    )
    search, recorder = run(tmp_path / "study", tight)
    inside = [a for a in search.space if cost(a).params <= 3000]
    assert {trial.architecture for trial in search.log.trials} == set(inside)
    assert any("seems to be known" in note for note in recorder.notes)


def test_the_same_seed_proposes_the_same_candidates(config: StudyConfig, tmp_path: Path) -> None:
    torch.manual_seed(123)
    a, _ = run(
        tmp_path / "a", config.model_copy(update={"search": config.search.model_copy(update={"sampler": "random"})})
    )
    torch.manual_seed(456)
    b, _ = run(
        tmp_path / "b", config.model_copy(update={"search": config.search.model_copy(update={"sampler": "random"})})
    )
    assert [t.architecture for t in a.log.trials] == [t.architecture for t in b.log.trials]
    assert [t.values["supernet_accuracy"] for t in a.log.trials] == [
        t.values["supernet_accuracy"] for t in b.log.trials
    ]


def explored(finished: Search, path: Path, budget: str = "", **changes: Any) -> tuple[Search, Recorder]:
    """The finished search with other settings: its supernet explored anew, and no front made."""
    shutil.copytree(finished.study.path, path, ignore=shutil.ignore_patterns("study.*", "final*"))
    changed = finished.config.search.model_copy(update=changes)
    config, recorder = finished.config.model_copy(update={"budget": budget, "search": changed}), Recorder()
    search = Search(Study(path), config, recorder)
    search.prepare()
    search.explore()
    return search, recorder


@pytest.mark.parametrize("sampler", ["nsga3", "tpe", "gp", "qmc"])
def test_every_sampler_searches(finished: tuple[Search, Recorder], tmp_path: Path, sampler: str) -> None:
    search, _ = explored(finished[0], tmp_path / "study", sampler=sampler, trials=8)
    assert len({trial.architecture for trial in search.log.trials}) == 8
    assert any(trial.origin == sampler for trial in search.log.trials)


def test_every_proposal_of_the_surrogate_says_why_it_was_made(
    finished: tuple[Search, Recorder], tmp_path: Path
) -> None:
    search, _ = explored(finished[0], tmp_path / "study", sampler="surrogate")
    origins = [trial.origin for trial in search.log.trials]
    assert len(origins) == search.config.search.trials
    assert any("gain" in origin or "move" in origin for origin in origins), origins


def test_a_search_without_gain_stops_and_says_so(finished: tuple[Search, Recorder], tmp_path: Path) -> None:
    """The cheapest objective is decided by the first candidate that has it, so the front stands still before the end."""
    search, recorder = explored(finished[0], tmp_path / "study", trials=500, patience=12)
    assert 12 < len(search.log.trials) < search.space.size
    assert any("the last 12 candidates raised the hypervolume by" in note for note in recorder.notes)


def test_a_search_stops_after_minutes_of_all_runs_together(finished: tuple[Search, Recorder], tmp_path: Path) -> None:
    first, _ = explored(finished[0], tmp_path / "study", trials=6)
    spent = first.log.trials[-1].elapsed
    assert 0 < spent <= first.log.elapsed
    changed = first.config.search.model_copy(update={"trials": 500, "minutes": spent / 60})
    recorder = Recorder()
    again = Search(first.study, first.config.model_copy(update={"search": changed}), recorder)
    again.prepare()
    again.explore()
    assert len(again.log.trials) == 6
    assert any("minutes of searching, as configured" in note for note in recorder.notes)


def test_published_networks_are_measured_beside_the_front(config: StudyConfig, tmp_path: Path) -> None:
    final = config.final.model_copy(update={"references": ("ResNet-18", "shufflenet_v2_x0.5")})
    with pytest.raises(ConfigError, match=r"final\.references: resnot18: .*resnet18"):
        bad = config.final.model_copy(update={"references": ("resnot18",)})
        run(tmp_path / "bad", config.model_copy(update={"final": bad}))
    search, _ = run(tmp_path / "study", config.model_copy(update={"final": final}))
    known = load_known(search.study)
    assert len(known) == 2
    for name, measured in known.items():
        network = reference(name).architecture(search.data.input, len(search.data.classes))
        assert measured["params"].value == cost(network).params
        assert measured["latency_ms"].provenance == "measured"


def test_blocks_that_the_device_cannot_run_are_in_no_candidate(config: StudyConfig, tmp_path: Path) -> None:
    """Found out while the table is filled; here by hand, in a table that was filled before."""
    first, _ = run(tmp_path / "first", config)
    table = first.latency.table
    kernel = [workload for workload in table.blocks if getattr(workload[0], "kernel", None) == 5]
    assert kernel
    for workload in kernel:
        del table.blocks[workload]
        table.failures[workload] = "no such operator"
    table.nets = []
    (tmp_path / "second").mkdir()
    table.save(tmp_path / "second" / "latency.json")
    search, recorder = run(tmp_path / "second", config)
    assert len(search.log.trials) == config.search.trials
    assert not any(5 in trial.choices.values() for trial in search.log.trials if trial.complete)
    assert all(trial.complete for trial in search.log.trials)
    assert any("no candidate will hold them" in note for note in recorder.notes)
