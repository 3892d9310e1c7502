"""The rank audit of a tiny study: resumable, on validation images alone, and honest about what it cannot know."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from archfront.evaluators.audit import Estimate
from archfront.evaluators.proxies import PROXIES
from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Diverged, Recipe
from archfront.evaluators.trainer import Trainer
from archfront.hw_profiles.cost import cost
from archfront.search.audit import Audit, AuditOptions, audit_study, load_audit
from archfront.search.audit_figures import Network, compare, verdict
from archfront.search.engine import Search
from archfront.search.progress import Silent
from archfront.search.study import Study
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError

from ..forks import ended, forked, killed
from .conftest import keep_table, quick, study_at

OPTIONS = AuditOptions(archs=5, narrow=4, band=0.5, epochs=12, seeds=2)


def begin(path: Path, space_file: Path) -> Study:
    """A study that was set up, and nothing else."""
    config = quick(space_file)
    study = study_at(path, config)
    study.settle(config)
    return study


def prepared(path: Path, space_file: Path) -> Study:
    """A study whose supernet is trained."""
    study = begin(path, space_file)
    search = Search(study, study.config, Silent())
    search.prepare()
    keep_table(search)
    return study


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, space_file: Path) -> tuple[Study, dict[str, Any]]:
    """A finished audit that several tests look at."""
    study = begin(tmp_path_factory.mktemp("audited") / "study", space_file)
    return study, audit_study(study, OPTIONS)


def test_an_audit_trains_rates_and_compares_and_writes_what_it_found(audited: tuple[Study, dict[str, Any]]) -> None:
    study, found = audited
    assert load_audit(study) == json.loads(json.dumps(found))
    assert [group["name"] for group in found["groups"]] == ["spread", "narrow"]
    table = pd.read_parquet(study.audit_file.with_suffix(".parquet"))
    assert list(table["group"]) == ["spread"] * 5 + ["narrow"] * 4
    search = Search(study, study.config, Silent())
    search.raters.train()
    for row in table.to_dict("records"):
        architecture = Architecture.from_dict(json.loads(row["architecture"]))
        assert architecture in search.space
        assert row["macs"] == cost(architecture).macs
        assert row["accuracy"] == pytest.approx((row["accuracy.0"] + row["accuracy.1"]) / 2)
    first = Architecture.from_dict(json.loads(table["architecture"][0]))
    assert table["supernet_accuracy"][0] == search.raters.shared.evaluate(first)["supernet_accuracy"].value
    spread = table[table["group"] == "spread"]
    ratings = {rating["name"]: rating for rating in found["groups"][0]["ratings"]}
    for name in ("supernet_accuracy", "macs", "params", "naswot"):
        expected = stats.spearmanr(spread[name], spread["accuracy"]).statistic
        assert ratings[name]["spearman"][0] == pytest.approx(expected)
    ceiling = stats.spearmanr(spread["accuracy.0"], spread["accuracy.1"]).statistic
    assert found["groups"][0]["ceiling"]["spearman"][0] == pytest.approx(ceiling)


def test_a_second_run_trains_nothing_and_finds_the_same(
    audited: tuple[Study, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, found = audited

    def refuse(*args: object) -> None:
        raise AssertionError("a network was trained again")

    monkeypatch.setattr(Trainer, "advance", refuse)
    assert audit_study(study, OPTIONS) == found


class Unseen:
    """A split of which nothing but the size is known."""

    def __len__(self) -> int:
        return 100


def test_the_test_split_is_not_looked_at(tmp_path: Path, space_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin(tmp_path / "study", space_file)
    search = Search(study, study.config, Silent())
    search.__dict__["data"] = replace(search.data, test=Unseen())  # type: ignore[arg-type]
    found = Audit(search, AuditOptions(archs=4, epochs=1, seeds=1)).run()
    assert found["groups"][0]["ceiling"] is None
    assert "With one seed" in found["groups"][0]["verdict"]


def test_an_audit_that_is_killed_goes_on_with_what_is_done(tmp_path: Path, space_file: Path) -> None:
    torch.set_num_threads(1)  # a forked child cannot use threads that the parent started
    study = prepared(tmp_path / "study", space_file)
    whole = begin(tmp_path / "whole", space_file)
    options = AuditOptions(archs=4, epochs=3, seeds=2)
    kept: dict[Path, bytes] = {}
    for wanted in (1, 3, 5):
        child = forked(lambda: audit_study(study, options))
        while len(records(study)) < wanted:
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            time.sleep(0.005)
        killed(child)
        now = {path: path.read_bytes() for path in records(study)}
        assert kept.items() <= now.items()
        kept = now
    assert len(kept) < 8
    found = audit_study(study, options)
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert not list(study.path.glob("audit/*/checkpoints/*"))
    assert found == audit_study(whole, options)


@pytest.mark.slow
def test_an_audit_that_is_killed_at_random_moments_ends_as_one_that_is_not(tmp_path: Path, space_file: Path) -> None:
    torch.set_num_threads(1)  # a forked child cannot use threads that the parent started
    options = AuditOptions(archs=4, epochs=3, seeds=2)
    _ = prepared(tmp_path / "first", space_file)  # measuring takes most of the time, and is killed elsewhere
    whole, study = (begin(tmp_path / name, space_file) for name in ("whole", "study"))
    begun = time.monotonic()
    expected = audit_study(whole, options)
    length = time.monotonic() - begun
    rng, kills = random.Random(0), 0
    for _ in range(200):
        child = forked(lambda: audit_study(study, options))
        status = ended(child, rng.uniform(0.1, 0.6) * length)
        if status is not None:
            assert status == 0
            break
        killed(child)
        kills += 1
    assert kills >= 3
    assert load_audit(study) == json.loads(json.dumps(expected))


def test_two_processes_share_the_trainings(tmp_path: Path, space_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    study = prepared(tmp_path / "study", space_file)
    log = tmp_path / "log"
    advance = Trainer.advance

    def logged(self: Trainer, architecture: Architecture, seed: int, checkpoint: Path, epochs: int) -> object:
        with log.open("a") as file:
            file.write(f"{os.getpid()} {checkpoint.stem}\n")
        return advance(self, architecture, seed, checkpoint, epochs)

    monkeypatch.setattr(Trainer, "advance", logged)
    options = AuditOptions(archs=5, epochs=8, seeds=2)
    children = [forked(lambda: audit_study(study, options)) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == len({name for _, name in lines}) == len(records(study)) == 10
    assert {process for process, _ in lines} == {str(child) for child in children}


def records(study: Study) -> list[Path]:
    """Of trainings that are over."""
    return sorted(file for file in study.path.glob("audit/*/*.json") if '"accuracy"' in file.read_text())


def test_a_training_that_diverges_is_kept_with_its_reason(tmp_path: Path, space_file: Path) -> None:
    search = Search(Study(tmp_path), quick(space_file), Silent())
    recipe = Recipe(epochs=2, learning_rate=1e30, clip_norm=1e30, warmup=0)
    alone = StandAlone(tmp_path, search.data, Classification(10), recipe)
    architecture = search.space.sample(0)
    for _ in range(2):
        with pytest.raises(Diverged, match=r"loss became|diverged"):
            alone.accuracy(architecture, 0)


def test_options_that_cannot_be_audited_are_refused() -> None:
    for wrong in ({"archs": 3}, {"narrow": 2}, {"seeds": 0}, {"band": 1.5}, {"epochs": 0}):
        with pytest.raises(ArchfrontError, match="an audit needs"):
            AuditOptions(**wrong)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- what is said


def invented(rating: np.ndarray, accuracy: np.ndarray, noise: float = 0.0) -> dict[str, object]:
    """An audit of networks whose multiply-adds say nothing, with given ratings and accuracies."""
    rng = np.random.default_rng(0)
    names = ("macs", "params", *PROXIES)
    networks = [
        Network(
            None, "spread", (a, a + noise * rng.normal()), {"supernet_accuracy": r, **{n: rng.random() for n in names}}
        )  # type: ignore[arg-type]
        for r, a in zip(rating, accuracy, strict=True)
    ]
    return compare("spread", networks)


def test_a_supernet_that_orders_no_better_than_counting_is_called_out() -> None:
    accuracy = np.linspace(0.5, 0.9, 24)
    useless = invented(np.random.default_rng(5).random(24), accuracy)
    assert "no better than counting" in str(useless["verdict"])
    useful = invented(accuracy + 0.02 * np.random.default_rng(5).normal(size=24), accuracy)
    beyond = {rating["name"]: rating["beyond"] for rating in useful["ratings"]}  # type: ignore[attr-defined]
    assert beyond["macs"] is None
    assert beyond["supernet_accuracy"][0] > 0.9 > abs(beyond["params"][0])
    assert "better than counting does" in str(useful["verdict"])
    assert "no better" not in str(useful["verdict"])


def test_where_seeds_do_not_agree_nothing_is_said_about_the_supernet() -> None:
    accuracy = np.linspace(0.50, 0.52, 24)
    assert "nothing can be said" in str(invented(accuracy, accuracy, noise=0.2)["verdict"])


def test_where_one_seed_gives_no_order_the_agreement_of_seeds_is_undefined_and_nothing_is_said() -> None:
    rng, names = np.random.default_rng(0), ("macs", "params", "supernet_accuracy", *PROXIES)
    networks = [
        Network(None, "spread", (0.5 + index / 50, 0.1), {name: rng.random() for name in names})  # type: ignore[arg-type]
        for index in range(12)
    ]
    found = compare("spread", networks)
    assert found["ceiling"] is None
    assert "undefined" in found["verdict"] and "nothing can be said about the supernet" in found["verdict"]


def test_the_verdict_names_its_figures() -> None:
    text = verdict(Estimate(0.8, 0.6, 0.9), Estimate(0.3, 0.1, 0.5), "Parameters", Estimate(0.95, 0.9, 0.99))
    assert "Spearman 0.80, 95 % interval 0.60 to 0.90" in text
    assert "Parameters reach 0.50" in text
    assert "Spearman 0.95" in text
