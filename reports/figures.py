"""What the figures of a report show: axes, hypervolume over trials, and the effect of every choice."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from archfront.hw_profiles.metrics import METRICS, Metric, metric
from archfront.search.pareto import hypervolume_over, non_dominated

if TYPE_CHECKING:
    import pandas as pd

    from .report import ReportData

STAND_INS = {
    "accuracy": ("supernet_accuracy", "alone_accuracy", "block_agreement"),
    "latency_ms": ("predicted_latency_ms",),
}
"""What every candidate is compared by during the search, in place of what only the front is measured for: one of them."""

READ_FIRST = (
    "accuracy",
    "test_accuracy",
    "supernet_accuracy",
    "alone_accuracy",
    "block_agreement",
    "latency_ms",
    "predicted_latency_ms",
)

PAIR_TITLES = {"accuracy": "Accuracy (validation)", "latency_ms": "Latency"}

FINALS = {estimate: final for final, estimates in STAND_INS.items() for estimate in estimates}


def canonical(name: str) -> str:
    """The name in the registry: `flops` is `macs`."""
    return metric(name).name


def leading(data: ReportData) -> str:
    """The objective that decides which network is best: the first to maximise or the first of all, as measured last."""
    name = next((name for name in data.objectives if metric(name).direction == "max"), data.objectives[0])
    return FINALS.get(canonical(name), canonical(name))


@dataclass(frozen=True)
class Axis:
    """One axis of the scatter plot: a metric, and the estimate that stands in where it was not measured."""

    key: str
    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Axes:
    """All axes on offer, and the two that the page starts with."""

    all: tuple[Axis, ...]
    x: Axis
    y: Axis


def present_metrics(table: pd.DataFrame) -> list[str]:
    """The known metrics of which `table` holds at least one value, in the order in which people read them."""
    order = dict.fromkeys((*READ_FIRST, *METRICS))
    return [name for name in order if name in table and table[name].notna().any()]


def axes(data: ReportData) -> Axes:
    """The axes for a study: quantities with both a measurement and an estimate first, then every metric by itself.

    The page starts with the first objective to maximise upwards and the first other objective to the right.
    """
    present = present_metrics(data.trials)
    known = {final: search_metric(data.trials, final, estimates[0]) for final, estimates in STAND_INS.items()}
    paired = [
        Axis(f"best:{final}", PAIR_TITLES[final], (final, estimate))
        for final, estimate in known.items()
        if {final, estimate} & set(present) and comparable(final, estimate)
    ]
    single = [Axis(name, METRICS[name].title, (name,)) for name in present]
    every = paired + single

    def of(name: str) -> Axis:
        estimate = known.get(name, name)
        shown = name if comparable(name, estimate) else estimate  # that which every candidate has
        covering = (axis for axis in every if shown in axis.metrics)
        return next(covering, Axis(name, METRICS[name].title, (name,)))

    up = of(leading(data))
    right = next((axis for axis in map(of, map(canonical, data.objectives)) if axis != up), up)
    return Axes(tuple(dict.fromkeys((*every, right, up))), right, up)


def search_metric(trials: pd.DataFrame, name: str, otherwise: str = "") -> str:
    """The metric by which all candidates can be compared in place of `name`: its stand-in where the table has one."""
    known = (e for e in STAND_INS.get(name, ()) if e in trials and trials[e].notna().any())
    return next(known, otherwise or name)


def comparable(final: str, estimate: str) -> bool:
    """Whether an estimate is the same quantity as what it stands in for, so that both may stand on one axis."""
    return metric(final).units == metric(estimate).units


def best_known(trials: pd.DataFrame, name: str) -> pd.Series[float]:
    """`name` where it was measured, its stand-in elsewhere; only one of them where they are no comparable quantities."""
    name = FINALS.get(name, name)
    estimate = search_metric(trials, name)
    columns = [trials[c].astype(float) for c in dict.fromkeys((name, estimate)) if c in trials]
    if len(columns) == 2 and not comparable(name, estimate):
        columns = columns[:1] if columns[0].notna().any() else columns[1:]
    if not columns:
        return trials["number"].astype(float) * math.nan
    return columns[0] if len(columns) == 1 else columns[0].combine_first(columns[1])


def inside(of: Metric, value: float) -> float:
    """`value` cut to what metric `of` can be: a share lies between 0 and 1."""
    return min(max(value, 0.0), 1.0) if of.units[0][0] == "%" else value


def estimated_front(data: ReportData) -> NDArray[np.bool_]:
    """Which candidates make up the front by the estimates of the search; none once there is a measured front."""
    names = [search_metric(data.trials, canonical(name)) for name in data.objectives]
    if data.trials["front"].astype(bool).any() or any(name not in data.trials for name in names):
        return np.zeros(len(data.trials), dtype=bool)
    signs = np.array([1.0 if METRICS[name].direction == "min" else -1.0 for name in names])
    values = data.trials[names].astype(float).to_numpy() * signs
    values[(data.trials["state"] != "complete").to_numpy()] = math.nan
    return non_dominated(values)


def hypervolume_curve(data: ReportData) -> dict[str, Any] | None:
    """Hypervolume of the feasible candidates seen so far, after each trial; None with nothing to compute it from.

    The reference point is the worst value of each objective among the feasible candidates, moved away by a tenth of
    the range, and the volume is a share of the box between it and the best value of each objective.
    """
    names = [search_metric(data.trials, canonical(name)) for name in data.objectives]
    if any(name not in data.trials for name in names):
        return None
    signs = np.array([1.0 if METRICS[name].direction == "min" else -1.0 for name in names])
    values = data.trials[names].astype(float).to_numpy() * signs
    values[(data.trials["state"] != "complete").to_numpy()] = math.nan
    usable = values[~np.isnan(values).any(axis=1)]
    if not len(usable):
        return None
    ideal, worst = usable.min(axis=0), usable.max(axis=0)
    span = np.where(worst > ideal, worst - ideal, np.maximum(np.abs(worst), 1e-12))
    reference = worst + 0.1 * span
    share = hypervolume_over(values, reference) / np.prod(reference - ideal)
    return {
        "metrics": names,
        "reference": [float(f"{v:.6g}") for v in reference * signs],
        "share": [float(f"{v:.5g}") for v in share],
    }


@dataclass(frozen=True)
class Option:
    """One option of a site: how many candidates have it, and their mean of an objective with its 95 % interval."""

    label: str
    count: int
    mean: float
    interval: float


@dataclass(frozen=True)
class Effect:
    """What the choice at a site goes with: `explained` is the share of the objective's variance between its options."""

    site: str
    explained: float
    options: tuple[Option, ...]


def effects(data: ReportData, name: str) -> list[Effect]:
    """The effect of every site on metric `name` over the feasible candidates that came to their end, strongest first.

    Sites where fewer than two options were seen twice are left out. The share is eta squared, the between-group sum of
    squares over the total (Fisher, 1925, Statistical Methods for Research Workers).
    """
    if name not in data.trials:
        return []
    trials = data.trials[(data.trials["state"] == "complete") & data.trials[name].notna()]
    if "stopped_epochs" in trials:  # accuracies after different numbers of epochs do not compare
        trials = trials[trials["stopped_epochs"].isna()]
    groups: dict[str, dict[str, list[float]]] = {}
    for text, value in zip(trials["sites"], trials[name].astype(float), strict=True):
        for site, label in (json.loads(text) if isinstance(text, str) and text else {}).items():
            groups.setdefault(site, {}).setdefault(str(label), []).append(value)
    found = (_effect(site, options) for site, options in groups.items())
    return sorted((e for e in found if e is not None), key=lambda e: -e.explained)


def _effect(site: str, groups: dict[str, list[float]]) -> Effect | None:
    if sum(len(values) > 1 for values in groups.values()) < 2:
        return None
    every = np.concatenate([np.asarray(values) for values in groups.values()])
    total = float(((every - every.mean()) ** 2).sum())
    between = sum(len(v) * (float(np.mean(v)) - float(every.mean())) ** 2 for v in groups.values())
    options = [Option(label, len(v), float(np.mean(v)), _interval(v)) for label, v in groups.items()]
    return Effect(site, between / total if total > 0 else 0.0, tuple(sorted(options, key=_natural)))


def _interval(values: list[float]) -> float:
    return 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _natural(option: Option) -> tuple[bool, float, str]:
    try:
        return False, float(option.label), ""
    except ValueError:
        return True, 0.0, option.label


def extent(found: list[Effect], of: Metric) -> tuple[float, float]:
    """The ends of an axis on which every interval of `found` fits; options seen once have none and stop at its ends.

    No axis of shares goes below 0 or above 100 %, and intervals stop there.
    """
    options = [option for effect in found for option in effect.options if option.count > 1]
    low, high = min(o.mean - o.interval for o in options), max(o.mean + o.interval for o in options)
    return inside(of, low), inside(of, high)


def effect_svg(effect: Effect, of: Metric, low: float, high: float) -> Markup:
    """One row an option: its label, its mean as a dot with its interval on an axis from `low` to `high`, its count."""
    row, left, width = 22, 120, 150
    right, full = left + width + 12, left + width + 160

    def at(value: float) -> str:
        return f"{left + width * min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0):.1f}"

    tall = row * len(effect.options)
    marks = [Markup('<line class="axis" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(left, tall)]
    for i, option in enumerate(effect.options):
        y = row * i + row // 2
        if not math.isnan(option.interval):
            ends = at(option.mean - option.interval), at(option.mean + option.interval)
            marks.append(Markup('<line class="interval" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(*ends, y, y))
        marks.append(Markup('<circle class="dot" cx="{}" cy="{}" r="4"/>').format(at(option.mean), y))
        label = option.label if len(option.label) <= 18 else option.label[:17] + "…"
        for kind, x, words in (
            ("label", left - 10, label),
            ("value", right, of.format(option.mean)),
            ("count", full, f"n = {option.count}"),
        ):
            marks.append(Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, x, y + 4, words))
    spoken = "; ".join(f"{o.label}: {of.format(o.mean)}, {o.count} candidates" for o in effect.options)
    return Markup(
        '<svg class="effect" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{t}">{m}</svg>'
    ).format(w=full, h=tall, t=f"Mean {of.title} by {effect.site}: {spoken}", m=Markup("").join(marks))
