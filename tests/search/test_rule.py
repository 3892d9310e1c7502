"""The training rule of a study: chosen by name, kept with it, read back with what it remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfront.evaluators.rules.few_shot import SplitSupernet
from archfront.evaluators.tuned import TunedAccuracy
from archfront.search.config import ConfigError, StudyConfig, dump, load, validate
from archfront.search.engine import Search
from archfront.search.progress import Silent
from archfront.search.study import Study, StudyError


def with_rule(config: StudyConfig, rule: str) -> StudyConfig:
    latency = config.latency.model_copy(update={"blocks": 12, "seconds": 2})
    supernet = config.supernet.model_copy(update={"rule": rule})
    return config.model_copy(update={"latency": latency, "supernet": supernet})


def test_a_split_supernet_is_read_back_split_and_rates_the_same(config: StudyConfig, tmp_path: Path) -> None:
    config = with_rule(config, "few_shot")
    first, again = (Search(Study(tmp_path), config, Silent()) for _ in range(2))
    first.prepare()
    again.prepare()
    assert isinstance(again.supernet, SplitSupernet)
    assert int(again.supernet.split[0]) >= 0
    for seed in range(6):
        architecture = first.space.sample(seed)
        assert again.rating.evaluate(architecture) == first.rating.evaluate(architecture)
    with pytest.raises(StudyError, match=r"supernet\.rule was 'few_shot', now 'fair'"):
        Search(Study(tmp_path), with_rule(config, "fair"), Silent()).prepare()


def test_the_rule_is_written_and_read_and_a_wrong_one_refused_with_the_nearest(tmp_path: Path) -> None:
    config = validate({"supernet": {"rule": "alpha_divergence"}})
    (tmp_path / "study.toml").write_text(dump(config))
    assert load(tmp_path / "study.toml") == config
    (tmp_path / "study.toml").write_text("[supernet]\nrule = 'sandwitch'\n")
    with pytest.raises(ConfigError, match=r"study\.toml:2: .*did you mean 'sandwich'"):
        load(tmp_path / "study.toml")
    with pytest.raises(ConfigError, match="leave out ema"):
        validate({"supernet": {"rule": "few_shot", "ema": 0.9}})


def test_candidates_are_tuned_before_they_are_rated_where_the_study_says_so(
    config: StudyConfig, tmp_path: Path
) -> None:
    plain = with_rule(config, "single_path")
    supernet = plain.supernet.model_copy(update={"tuning_images": 64})
    search = Search(Study(tmp_path), plain.model_copy(update={"supernet": supernet}), Silent())
    search.prepare()
    assert isinstance(search.rating, TunedAccuracy)
    assert search.rating.recipe.steps(len(search.rating.images)) == max(1, 64 // supernet.batch_size)
    architecture = search.space.sample(0)
    assert search.rating.evaluate(architecture) == search.rating.evaluate(architecture)
    weights = search.supernet.store.state_dict()
    again = Search(Study(tmp_path), search.config, Silent())
    again.prepare()
    assert all(bool((weights[name] == value).all()) for name, value in again.supernet.store.state_dict().items())
    assert again.rating.evaluate(architecture) == search.rating.evaluate(architecture)
