"""Any space as a search space of Ray Tune."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.hw_profiles.cost import cost, part_cost
from archfront.search.cluster.connection import Cluster
from archfront.search.cluster.tune import architecture, param_space
from archfront.space.errors import SpaceError
from archfront.space.limits import Bounds
from archfront.space.presets import PRESETS
from archfront.space.space import Space
from archfront.space.types import Image

ROOT = Path(__file__).parents[3]


@pytest.fixture
def space(rating: SupernetAccuracy) -> Space:
    return rating.supernet.space


def labels(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """A choice for every site, as Tune would make it."""
    offered = {path: domain.categories for path, domain in param_space(space).items()}
    return {path: choices[rng.integers(len(choices))] for path, choices in offered.items()}


def test_a_configuration_is_followed_wherever_it_can_be(space: Space) -> None:
    rng = np.random.default_rng(0)
    followed = 0
    for _ in range(50):
        config = labels(space, rng)
        try:
            found = architecture(space, config | {"learning_rate": 0.1})
        except SpaceError as error:
            assert "predicate" in str(error)
            continue
        assert found in space
        choices = space.choices(found)
        assert set(choices) <= set(config)
        assert all(config[site] == choice for site, choice in choices.items())
        followed += 1
    assert followed > 10


def test_every_architecture_has_a_configuration(space: Space) -> None:
    offered = {path: domain.categories for path, domain in param_space(space).items()}
    for seed in range(20):
        wanted = space.sample(seed)
        config = {path: choices[0] for path, choices in offered.items()} | space.choices(wanted)
        assert architecture(space, config) == wanted


def test_within_bounds_the_nearest_choice_is_taken(space: Space) -> None:
    most = float(np.median([cost(space.sample(seed)).params for seed in range(40)]))
    bounds = Bounds(lambda spec, x: (part_cost(spec, x).params,), np.array([-np.inf]), np.array([most]))
    rng = np.random.default_rng(0)
    counted = []
    for _ in range(40):
        try:
            counted.append(cost(architecture(space, labels(space, rng), bounds)).params)
        except SpaceError as error:
            assert "predicate" in str(error)
    assert len(counted) > 10
    assert max(counted) <= most


def test_a_configuration_of_another_space_is_refused(space: Space) -> None:
    config = labels(space, np.random.default_rng(0))
    first = next(iter(config))
    with pytest.raises(SpaceError, match="says nothing about"):
        architecture(space, {path: label for path, label in config.items() if path != first})
    with pytest.raises(SpaceError, match="no choice there; choices:"):
        architecture(space, config | {first: "nonsense"})


def test_the_tuner_of_the_guide_searches_a_space_with_its_own_scheduler(cluster: Cluster, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    (code,) = re.findall(r"test_tune.py runs this -->\n```python no-run\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "page.py").write_text(code)
    where = os.environ | {"RAY_ADDRESS": cluster.address, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=where, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1].startswith("Network(")
    trials = list((tmp_path / "ray_results").glob("*/*/result.json"))
    assert len(trials) == 3
    for trial in trials:
        reports = [json.loads(line) for line in trial.read_text().splitlines()]
        assert 1 <= len(reports) <= 4
        assert set(reports[0]["config"]) == set(PRESETS["micro"].make(Image(1, 8, 8), 10).sites)
        assert all(0 <= report["accuracy"] <= 1 for report in reports)
