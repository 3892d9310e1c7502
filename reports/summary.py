"""What a report says in words: the best network, how far its numbers can be trusted, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from archfront.hw_profiles.calibration import kendall
from archfront.hw_profiles.metrics import METRICS, Metric, metric
from archfront.search.budget import Bound
from archfront.search.pareto import non_dominated

from .figures import FINALS, STAND_INS, best_known, canonical, inside, leading, present_metrics, search_metric

if TYPE_CHECKING:
    import pandas as pd

    from .report import ReportData

COSTS = ("latency_ms", "params", "macs", "peak_bytes", "energy_mj")

LESSER = ("activations", "supernet_loss", "stopped_epochs")
"""What the table of the front leaves to the table of all candidates, so that it fits a page."""

NBSP = "\u00a0"

SHARED = ("supernet_accuracy", "block_agreement")
"""What candidates are rated by with shared weights, one or the other."""

HOW = ("exact", "measured", "predicted")
"""How a number may have been got, in the order of the table of what was measured."""

FEW = 4
"""From fewer networks nothing is concluded about others."""


@dataclass(frozen=True)
class Fact:
    """One number with its name and how it was got."""

    title: str
    value: str
    how: str


@dataclass(frozen=True)
class Answer:
    """The first thing a reader sees: a headline, a sentence, and the numbers of the chosen network, if there is one."""

    headline: str
    sentence: str
    number: int | None = None
    facts: tuple[Fact, ...] = ()


def with_spread(of: Metric, value: float, spread: float | None) -> str:
    """`value` with its interval, both to the place of the interval's second digit: "96.94 ± 0.81 %".

    No share is below 0 or above 100 %: an interval that would reach further is written by its ends,
    "99.7 % (98.1 to 100)".
    """
    if spread is None or math.isnan(spread) or spread <= 0:
        return of.format(value)
    unit, size, places = *of.unit_for(value), _places(of, value, spread)
    low, high = inside(of, value - spread), inside(of, value + spread)
    if (low, high) != (value - spread, value + spread):
        ends = " to ".join(f"{end / size:.{0 if end in (0, 1) else places}f}" for end in (low, high))
        return f"{rounded(of, value, spread)} ({ends})"
    return f"{value / size:,.{places}f} ± {spread / size:,.{places}f} {unit}".strip()


def rounded(of: Metric, value: float, spread: float | None) -> str:
    """`value` alone, to the place to which `with_spread` writes it."""
    if spread is None or math.isnan(spread) or spread <= 0:
        return of.format(value)
    unit, size = of.unit_for(value)
    return f"{value / size:,.{_places(of, value, spread)}f} {unit}".strip()


def _places(of: Metric, value: float, spread: float) -> int:
    return min(max(1 - math.floor(math.log10(spread / of.unit_for(value)[1])), 0), 6)


def answer(data: ReportData) -> Answer:
    """The exported network; without one the best of the front; without that, why there is none."""
    trials = data.trials
    if trials.empty:
        return Answer(
            "Nothing has been tried yet", "The study holds no candidate. Run the search, then the report again."
        )
    complete, measured = trials[trials["state"] == "complete"], _measured(data)
    if len(measured) and not measured["state"].eq("complete").any():
        return _nearest(data, measured)
    if complete.empty:
        unfit = (trials["state"] == "infeasible").any()
        return Answer("No network fits the budget" if unfit else "No candidate could be evaluated", _why_none(data))
    chosen = trials[trials["picked"].astype(bool)]
    if chosen.empty:
        chosen = _best(data, complete)
    row = chosen.iloc[0]
    number = int(row["number"])
    estimated = "" if number in set(measured["number"]) else ", by the estimates of the search"
    role = "The exported network" if bool(row["picked"]) else "The best network so far"
    judged = [name for name in data.budget if _judged(row, name)]
    within = f" within {budget_words(data, judged)}" if judged else ""
    open_ = [name for name in data.budget if name not in judged]
    left = f" Whether it keeps {budget_words(data, open_)} is not known before it is fine-tuned." if open_ else ""
    return Answer(_headline(data, row), f"{role}{within}{estimated}: {_crowd(data)}.{left}", number, tuple(_facts(row)))


def _headline(data: ReportData, row: pd.Series[Any]) -> str:
    reached = [text for name in data.objectives for text in _reached(row, name)]
    return f"Network {row['number']} reaches {' at '.join(reached)}" if reached else f"Network {row['number']}"


def _nearest(data: ReportData, measured: pd.DataFrame) -> Answer:
    """What to say where no network keeps the budget as measured, whatever estimates of others promise."""
    bounds = [Bound(canonical(name), *_ends(*ends)) for name, ends in data.budget.items()]
    over = [max((b.excess(_value(row, b.metric)) for b in bounds), default=0.0) for _, row in measured.iterrows()]
    row = measured.iloc[int(np.argmin(over))]
    number, count = int(row["number"]), len(measured)
    misses = " and ".join(_miss(row, b) for b in bounds if b.excess(_value(row, b.metric)))
    return Answer(
        f"No network that was measured keeps the budget; network {number} comes nearest",
        f"{_count(count, 'network')} {'was' if count == 1 else 'were'} fine-tuned and measured. Network {number} has "
        f"{misses}: {_crowd(data)}.",
        number,
        tuple(_facts(row)),
    )


def _miss(row: pd.Series[Any], bound: Bound) -> str:
    """What a network has and what it should have: "latency 2.4 ms instead of ≤ 2 ms"."""
    of, shown = bound.what, _shown(row, bound.metric) or bound.metric
    value = float(row[shown])
    wanted = f"≤ {of.format(bound.high)}" if value > bound.high else f"≥ {of.format(bound.low)}"
    had = rounded(of, value, row.get(f"{shown}.spread"))
    return f"{_lower(of)} {had.replace(' ', NBSP)} instead of {wanted.replace(' ', NBSP)}"


def _measured(data: ReportData) -> pd.DataFrame:
    """The candidates that became networks of their own: what only those have is known of them."""
    own = [name for name in STAND_INS if name in data.trials]
    return data.trials[data.trials[own].notna().any(axis=1) & (data.trials["state"] != "failed")]


def _judged(row: pd.Series[Any], name: str) -> bool:
    """Whether a bound on `name` could be judged: on the value, or on the prediction of a latency."""
    name = canonical(name)
    return _known(row, name) or (name == "latency_ms" and _known(row, "predicted_latency_ms"))


def _value(row: pd.Series[Any], name: str) -> float:
    shown = _shown(row, name)
    return math.nan if shown is None else float(row[shown])


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high


def _reached(row: pd.Series[Any], name: str) -> list[str]:
    """The best known value of objective `name` and, where that is not clear from the unit, what it is."""
    shown = _shown(row, FINALS.get(metric(name).name, metric(name).name))
    if shown is None:
        return []
    of = METRICS[shown]
    what = " accuracy" if "accuracy" in shown else "" if "latency" in shown else f" {_lower(of)}"
    return [rounded(of, float(row[shown]), row.get(f"{shown}.spread")).replace(" ", NBSP) + what]


def budget_words(data: ReportData, names: Collection[str] | None = None) -> str:
    """The budget, or its bounds on `names`, as a person would say it: "latency ≤ 2 ms and parameters ≤ 1 M"."""
    words = []
    for name in data.budget if names is None else names:
        (low, high), of = data.budget[name], metric(name)
        for sign, bound in (("≤", high), ("≥", low)):
            words += [f"{_lower(of)} {sign} {of.format(bound)}".replace(" ", NBSP)] if bound is not None else []
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:]))) or "the budget"


def evidence(data: ReportData) -> list[str]:
    """Sentences about how sure the numbers are; each one only where the study holds what it needs."""
    front = data.trials[data.trials["front"].astype(bool)]
    sentences = [
        _interval_sentence(front, "latency_ms"),
        _prediction_sentence(data.trials),
        _changes_sentence(data),
        _ties_sentence(data, front),
        _ranking_sentence(data.trials),
        _optimism_sentence(data.trials),
    ]
    return [sentence for sentence in sentences if sentence]


def front_table(data: ReportData) -> dict[str, Any]:
    """The front as titles and rows of text: objectives first, best in the leading one at the top."""
    front = data.trials[data.trials["front"].astype(bool)]
    objectives = [FINALS.get(canonical(name), canonical(name)) for name in data.objectives]
    present = present_metrics(front)
    names = [name for name in dict.fromkeys((*objectives, *present)) if name in present and name not in LESSER]
    if len(front):
        of = METRICS[leading(data)]
        front = front.assign(_order=best_known(front, of.name)).sort_values("_order", ascending=of.direction == "min")
    rows = [
        {"number": int(row["number"]), "picked": bool(row["picked"]), "cells": [_cell(row, name) for name in names]}
        for _, row in front.iterrows()
    ]
    return {"titles": [METRICS[name].title for name in names], "rows": rows}


def coverage(data: ReportData) -> list[tuple[str, list[int]]]:
    """For every metric that any has: how many candidates have it exact, measured, predicted, and not at all."""
    rows = []
    for name in filter(present_metrics(data.trials).__contains__, METRICS):
        known, of = data.trials[name].notna(), METRICS[name]
        kinds = data.trials.get(f"{name}.provenance")
        counts = [int(((kinds == kind) & known).sum()) if kinds is not None else 0 for kind in HOW]
        rows.append((of.title, [*counts, len(data.trials) - int(known.sum())]))
    return rows


# --------------------------------------------------------------------------- parts of the answer


def _best(data: ReportData, complete: pd.DataFrame) -> pd.DataFrame:
    """The best candidate in the leading objective; one that was measured for it goes before any estimate.

    Of equal ones it is that which is best in the other objectives, in their order.
    """
    of = METRICS[leading(data)]
    final = complete[of.name].notna() if of.name in complete else best_known(complete, of.name).isna()
    ranked = dict.fromkeys((of.name, *map(canonical, data.objectives)))
    keys = {f"_{name}": _sign(name) * best_known(complete, name) for name in ranked}
    return complete.assign(_final=~final, **keys).sort_values(["_final", *keys]).head(1)


def _sign(name: str) -> int:
    """1 where less is better, -1 where more is."""
    return 1 if METRICS[name].direction == "min" else -1


def _facts(row: pd.Series[Any]) -> list[Fact]:
    facts = []
    for name in ("accuracy", "test_accuracy", *COSTS):
        shown = _shown(row, name)
        if shown is None:
            continue
        how = str(row.get(f"{shown}.provenance"))
        how = how if how in HOW else ""
        how = "with shared weights" if shown in SHARED else how
        facts.append(Fact(METRICS[shown].title, _cell(row, shown), how))
    return facts


def _shown(row: pd.Series[Any], name: str) -> str | None:
    """`name` or what stands in for it, whichever is known first."""
    return next((n for n in (name, *STAND_INS.get(name, ())) if _known(row, n)), None)


def _cell(row: pd.Series[Any], name: str) -> str:
    return with_spread(METRICS[name], float(row[name]), row.get(f"{name}.spread")) if _known(row, name) else "–"


def _known(row: pd.Series[Any], name: str) -> bool:
    return name in row and row[name] is not None and math.isfinite(float(row[name]))


def _crowd(data: ReportData) -> str:
    states = data.trials["state"].value_counts()
    parts = [
        f"{int(states.get(state, 0)):,} {words}"
        for state, words in (("infeasible", "did not fit the budget"), ("failed", "failed"))
        if states.get(state, 0)
    ]
    front = int(data.trials["front"].sum())
    place = "" if not front else "the only one on the front " if front == 1 else f"one of {front} on the front "
    crowd = f"{place}out of {_count(len(data.trials), 'candidate')}"
    return crowd + (f", of which {' and '.join(parts)}" if parts else "")


def _why_none(data: ReportData) -> str:
    """Which bounds exclude how many candidates and how near the nearest came; or what failed most often."""
    trials = data.trials
    infeasible = trials[trials["state"] == "infeasible"]
    if infeasible.empty:
        reasons = trials["reason"].dropna().value_counts()
        most = f" Most often: {reasons.index[0]} ({_count(int(reasons.iloc[0]), 'time')})." if len(reasons) else ""
        return f"All {_count(len(trials), 'candidate')} failed.{most}"
    words = [f"None of {_count(len(trials), 'candidate')} fits the budget."]
    for name, (low, high) in data.budget.items():
        of = metric(name)
        values = best_known(infeasible, of.name).dropna()
        for bound, over in ((high, True), (low, False)):
            if bound is None or values.empty:
                continue
            misses = int((values > bound).sum() if over else (values < bound).sum())
            nearest = float(values.min() if over else values.max())
            if misses:
                by = f"{abs(nearest / bound - 1) * 100:.2g} %" if bound else of.format(abs(nearest))
                words.append(
                    f"{of.title} {'above' if over else 'below'} {of.format(bound)} excludes {misses} of {len(values)}; "
                    f"the nearest misses it by {by}."
                )
    return " ".join(words)


# --------------------------------------------------------------------------- parts of the evidence


def _interval_sentence(front: pd.DataFrame, name: str) -> str:
    spread = f"{name}.spread"
    if name not in front or spread not in front:
        return ""
    known = front[front[name].notna() & front[spread].notna()]
    if known.empty:
        return ""
    share = (known[spread].astype(float) / known[name].astype(float)).to_numpy() * 100
    wide = f"typically ±{np.median(share):.2g} %, at worst ±{share.max():.2g} %" if len(share) > 1 else ""
    return (
        f"{METRICS[name].title} of {_count(len(known), 'network')} on the front was measured; the 95 % interval is "
        f"{wide or f'±{share.max():.2g} %'}."
    )


def _prediction_sentence(trials: pd.DataFrame) -> str:
    pairs = _pairs(trials, "latency_ms", "predicted_latency_ms")
    if pairs is None:
        return ""
    measured, predicted = pairs
    error = np.abs(predicted / measured - 1) * 100
    if len(error) < FEW:
        off = " and ".join(filter(None, (", ".join(f"{e:.2g} %" for e in error[:-1]), f"{error[-1]:.2g} %")))
        return (
            f"Predicted latency was off by {off} on the {_count(len(error), 'network')} measured afterwards: too few to "
            f"expect the same of the hollow points.{_calibrated(trials)}"
        )
    return (
        f"Predicted latency was typically off by {np.median(error):.2g} %, at worst by {error.max():.2g} %, on "
        f"{_count(len(error), 'network')} measured afterwards; expect the same of the hollow points."
    )


def _calibrated(trials: pd.DataFrame) -> str:
    """The interval that the calibration on whole networks gave the predictions, where it gave one."""
    pairs = _pairs(trials, "predicted_latency_ms", "predicted_latency_ms.spread")
    if pairs is None:
        return ""
    share = float(np.median(pairs[1] / pairs[0])) * 100
    return f" The calibration on whole networks gives predictions a 95 % interval of ±{share:.2g} %."


def _changes_sentence(data: ReportData) -> str:
    """How many of the networks that were measured changed between being on the front and not, as estimated before."""
    names = [FINALS.get(canonical(name), canonical(name)) for name in data.objectives]
    estimates = [search_metric(data.trials, name) for name in names]
    needed = list(dict.fromkeys((*names, *estimates)))
    if names == estimates or any(name not in data.trials for name in needed):
        return ""
    measured = data.trials[data.trials[needed].notna().all(axis=1)]
    if measured.empty:
        return ""
    signs = [1.0 if metric(name).direction == "min" else -1.0 for name in names]
    before = non_dominated(measured[estimates].to_numpy(dtype=float) * signs)
    after = measured["front"].astype(bool).to_numpy()
    left, others = int((before & ~after).sum()), _count(int((after & ~before).sum()), "other")
    if len(measured) == 1:  # which is its own front, before and after
        return ""
    return (
        f"Of {_count(len(measured), 'network')} that were fine-tuned and measured, {int(before.sum())} made up their front "
        f"by the estimates of the search. Measuring took {left} of these off it and brought {others} onto it."
    )


def _ties_sentence(data: ReportData, front: pd.DataFrame) -> str:
    """How many steps along the front are smaller than the intervals of the two networks they lie between."""
    of = METRICS[leading(data)]
    spread = f"{of.name}.spread"
    if of.name not in front or spread not in front:
        return ""
    known = front[front[of.name].notna() & front[spread].notna()].sort_values(of.name)
    if len(known) < 2:
        return ""
    values, halves = known[of.name].astype(float).to_numpy(), known[spread].astype(float).to_numpy()
    ties = int((np.diff(values) < np.hypot(halves[1:], halves[:-1])).sum())
    if not ties:
        return f"Every step in {_lower(of)} along the front is larger than its 95 % interval."
    return (
        f"{ties} of {_count(len(values) - 1, 'step')} in {_lower(of)} along the front {'is' if ties == 1 else 'are'} "
        f"smaller than {'its' if ties == 1 else 'their'} 95 % interval: "
        "treat those neighbours as equal and take the cheaper one."
    )


def _ranking_sentence(trials: pd.DataFrame) -> str:
    pairs = next(filter(None, (_pairs(trials, "accuracy", name) for name in SHARED)), None)
    if pairs is None or len(pairs[0]) < FEW:
        return ""
    final, estimate = pairs
    tau = kendall(final, estimate)
    if math.isnan(tau):  # all tie by one of them
        return ""
    return (
        f"The shared-weight estimate and the fine-tuned accuracy order the same {len(final)} networks with Kendall's "
        f"tau {tau:.2f} (1 is the same order, 0 unrelated). All were chosen as good: little lies between them."
    )


def _optimism_sentence(trials: pd.DataFrame) -> str:
    pairs = _pairs(trials, "accuracy", "test_accuracy")
    if pairs is None:
        return ""
    gap = float(np.mean(pairs[0] - pairs[1])) * 100
    how, by = "below" if gap >= 0 else "above", f"{abs(gap):.2g}"
    over = f"on average over {len(pairs[0])} networks" if len(pairs[0]) > 1 else "for the one network that was tested"
    return (
        f"Test accuracy lies {by} point{'' if by == '1' else 's'} {how} validation accuracy {over}. "
        "Validation images chose these networks, test images did not."
    )


def _pairs(trials: pd.DataFrame, a: str, b: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if a not in trials or b not in trials:
        return None
    known = trials[[a, b]].astype(float).dropna()
    return (known[a].to_numpy(), known[b].to_numpy()) if len(known) else None


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _lower(of: Metric) -> str:
    return of.title if of.title.startswith("FLOPs") else of.title[0].lower() + of.title[1:]
