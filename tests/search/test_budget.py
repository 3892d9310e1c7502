"""Budgets are read the way people write them, and explained when they cannot be read."""

from __future__ import annotations

import math

import pytest

from archfront.search.budget import Bound, Budget, BudgetError


@pytest.mark.parametrize(
    ("text", "metric", "low", "high"),
    [
        ("latency<=5ms", "latency_ms", -math.inf, 5.0),
        ("latency < 250us", "latency_ms", -math.inf, 0.25),
        ("latency_ms <= 0.5s", "latency_ms", -math.inf, 500.0),
        ("params<=2M", "params", -math.inf, 2e6),
        ("flops<=1.5G", "macs", -math.inf, 1.5e9),
        ("macs≤300k", "macs", -math.inf, 3e5),
        ("memory<=1MiB", "peak_bytes", -math.inf, 2**20),
        ("accuracy>=90%", "accuracy", 0.9, math.inf),
        ("accuracy>=0.9", "accuracy", 0.9, math.inf),
        ("params>=1M, params<=2M", "params", 1e6, 2e6),
        ("params<=2M,params<=1M", "params", -math.inf, 1e6),
    ],
)
def test_a_bound_is_read_in_its_unit(text: str, metric: str, low: float, high: float) -> None:
    assert Budget.parse(text).bounds == (Bound(metric, low, high),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latncy<=5ms", "unknown metric 'latncy'; did you mean 'latency'"),
        ("params<=2ms", "params is not measured in 'ms'"),
        ("params<=1b", "params is not measured in 'b'; units: k, m, g$"),
        ("fast", "cannot read 'fast'; write it like latency<=5ms"),
        ("params<=1M, params>=2M", "no params is both"),
        ("latency<=1.2.3ms", "'1.2.3' in 'latency<=1.2.3ms' is not a number"),
        ("accuracy>=90", "'accuracy>=90' asks for 9000 %; write it like accuracy>=90% or accuracy>=0.9"),
        ("accuracy>=101%", "'accuracy>=101%' asks for 101 %"),
        ("energy<=5mJ", "unknown metric 'energy'; known: accuracy, "),
        ("energy_mj<=5", "a search does not measure 'energy_mj' of every network; known: accuracy, "),
        ("supernet_accuracy>=90%", "does not measure 'supernet_accuracy' of every network; did you mean 'accuracy'"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Budget.parse(text)


def test_broken_bounds_are_those_that_the_values_break() -> None:
    budget = Budget.parse("latency<=5ms, params<=2M, accuracy>=90%")
    assert [b.metric for b in budget.broken({"latency_ms": 5.0, "params": 2e6 + 1, "accuracy": 0.95})] == ["params"]
    assert [b.metric for b in budget.broken({"latency_ms": math.nan})] == ["latency_ms"]
    assert budget.broken({}) == []
    assert budget["latency_ms"].excess(6.0) == pytest.approx(0.2)
    assert budget["accuracy"].excess(0.81) == pytest.approx(0.1)


def test_a_printed_budget_reads_back_as_itself() -> None:
    budget = Budget.parse("latency<=5ms, params<=2M, memory<=1MiB, accuracy>=90%")
    assert Budget.parse(str(budget)) == budget
