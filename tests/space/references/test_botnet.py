"""Bottleneck transformers against published figures."""

from __future__ import annotations

import pytest

from archfront.space.references import references

from .figures import check, size_and_cost


def test_botnet26t_has_the_published_size_and_cost() -> None:
    check("botnet26t_256", "12.49", 3.3)


@pytest.mark.parametrize("name", ["BoTNet-50", "BoTNet-S1-50"])
def test_botnet50_has_the_parameters_that_the_paper_prints_cut_off(name: str) -> None:
    params, _ = size_and_cost(name)
    assert params == references[name].params
    assert params // 100_000 == 208
    assert params == pytest.approx(20.8e6, rel=5e-3)


def test_attention_in_the_last_stage_of_resnet50_takes_away_two_thirds_of_its_3x3_convolutions_and_adds_tables() -> (
    None
):
    removed = references["resnet50"].params - references["BoTNet-50"].params
    tables = 128 * (2 * 27 + 4 * 13)
    assert removed == 3 * (9 - 3) * 512 * 512 - tables == pytest.approx(4.7e6, rel=0.01)
