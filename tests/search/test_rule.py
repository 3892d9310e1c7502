"""The training rule of a study: chosen by name, kept with it, read back with what it remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfront.evaluators.rules.few_shot import SplitSupernet
from archfront.evaluators.tuned import TunedAccuracy
from archfront.reports.results import load_results
from archfront.search.config import ConfigError, StudyConfig, dump, load, validate
from archfront.search.engine import Search
from archfront.search.progress import Silent
from archfront.search.study import Study, StudyError

from .conftest import study_at


def with_rule(config: StudyConfig, rule: str) -> StudyConfig:
    latency = config.latency.model_copy(update={"blocks": 12, "seconds": 2})
    supernet = config.supernet.model_copy(update={"rule": rule})
    return config.model_copy(update={"latency": latency, "supernet": supernet})


def test_a_split_supernet_is_read_back_split_and_rates_the_same(config: StudyConfig, tmp_path: Path) -> None:
    config = with_rule(config, "few_shot")
    first, again = (Search(study_at(tmp_path, config), config, Silent()) for _ in range(2))
    first.prepare()
    again.prepare()
    assert isinstance(again.raters.supernet, SplitSupernet)
    assert int(again.raters.supernet.split[0]) >= 0
    for seed in range(6):
        architecture = first.space.sample(seed)
        assert again.raters.shared.evaluate(architecture) == first.raters.shared.evaluate(architecture)
    with pytest.raises(StudyError, match=r"supernet\.rule was 'few_shot', now 'fair'"):
        Search(study_at(tmp_path, config), with_rule(config, "fair"), Silent()).prepare()


def test_the_rule_is_written_and_read_and_a_wrong_one_refused_with_the_nearest(tmp_path: Path) -> None:
    config = validate({"supernet": {"rule": "alpha_divergence"}})
    (tmp_path / "study.toml").write_text(dump(config))
    assert load(tmp_path / "study.toml") == config
    (tmp_path / "study.toml").write_text("[supernet]\nrule = 'sandwitch'\n")
    with pytest.raises(ConfigError, match=r"study\.toml:2: .*did you mean 'sandwich'"):
        load(tmp_path / "study.toml")
    with pytest.raises(ConfigError, match="leave out ema"):
        validate({"supernet": {"rule": "few_shot", "ema": 0.9}})


def test_a_rule_without_labels_rates_by_agreement_and_its_front_by_accuracy(
    config: StudyConfig, tmp_path: Path
) -> None:
    config = with_rule(config, "bootstrapping")
    first, again = (Search(study_at(tmp_path, config), config, Silent()) for _ in range(2))
    finalists = first.run()
    assert first.metrics[0] == "block_agreement"
    assert first.final_metrics[0] == "accuracy"
    complete = [trial for trial in first.log.trials if trial.complete]
    assert len(complete) == len(first.log.trials) > 1
    assert all("block_agreement" in trial.values and "supernet_accuracy" not in trial.values for trial in complete)
    again.prepare()  # reads the trained weights, the averages and the chosen paths back
    for trial in complete[:4]:
        rated = again.raters.shared.evaluate(trial.architecture)["block_agreement"]
        assert rated == trial.measurements["block_agreement"]
    assert all(0 <= f.measurements["accuracy"].value <= 1 for f in finalists)
    trials = load_results(Study(tmp_path)).trials
    assert trials["block_agreement"].notna().all()
    assert any(finalist.picked for finalist in finalists)


def test_what_a_rule_without_labels_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="tuning needs them"):
        validate({"supernet": {"rule": "bootstrapping", "tuning_images": 64}})
    with pytest.raises(ConfigError, match="trains no heads"):
        validate({"supernet": {"rule": "bootstrapping"}, "final": {"epochs": 0}})
    assert validate({"evaluator": "alone", "supernet": {"rule": "bootstrapping"}, "final": {"epochs": 0}})


def test_candidates_are_tuned_before_they_are_rated_where_the_study_says_so(
    config: StudyConfig, tmp_path: Path
) -> None:
    plain = with_rule(config, "single_path")
    supernet = plain.supernet.model_copy(update={"tuning_images": 64})
    search = Search(study_at(tmp_path, config), plain.model_copy(update={"supernet": supernet}), Silent())
    search.prepare()
    assert isinstance(search.raters.shared, TunedAccuracy)
    assert search.raters.shared.recipe.steps(len(search.raters.shared.images)) == max(1, 64 // supernet.batch_size)
    architecture = search.space.sample(0)
    assert search.raters.shared.evaluate(architecture) == search.raters.shared.evaluate(architecture)
    weights = search.raters.supernet.store.state_dict()
    again = Search(study_at(tmp_path, config), search.config, Silent())
    again.prepare()
    assert all(bool((weights[name] == value).all()) for name, value in again.raters.supernet.store.state_dict().items())
    assert again.raters.shared.evaluate(architecture) == search.raters.shared.evaluate(architecture)
