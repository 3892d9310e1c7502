"""The data block of a report: a study as compact columns, every repeated string and block stored once."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from archfront.hw_profiles.metrics import METRICS, Metric
from archfront.space.architecture import Architecture
from archfront.space.cell import Cell

from . import diagram
from .diagram_cells import drawn_whole
from .figures import Axis, axes, canonical, estimated_front, hypervolume_curve, present_metrics

if TYPE_CHECKING:
    import pandas as pd

    from .report import ReportData

STATES = ("complete", "infeasible", "failed")
PROVENANCE = {"exact": "e", "measured": "m", "predicted": "p"}


class Interned:
    """Distinct keys in the order of their first appearance, each with the first item that had it."""

    def __init__(self) -> None:
        self._places: dict[Hashable, int] = {}
        self.items: list[Any] = []

    def index(self, item: Any, key: Hashable | None = None) -> int:
        """Where `item` stands, found by `key` (by default itself)."""
        key = item if key is None else key
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(item)
        return self._places[key]


class Drawings:
    """The architectures of a study as lines of three interned parts: place in the tree, spec, and output type.

    Args:
        choices: names of the fields that the space left open.
    """

    def __init__(self, choices: AbstractSet[str] = frozenset()) -> None:
        self.choices = choices
        self.places, self.specs, self.outputs = Interned(), Interned(), Interned()

    def add(self, architecture: Architecture) -> list[int]:
        """The lines of `architecture`, flattened: place, spec, output, place, spec, output, ..."""
        flat = []
        for line in diagram.lines(architecture):
            flat += [
                self.places.index((len(line.branch), line.branch + line.name)),
                self.specs.index((line.spec, line.name), diagram.key(line)),
                self.outputs.index(line.output),
            ]
        return flat

    def fragments(self) -> list[tuple[str, str]]:
        """The (id, SVG) of every part, which diagrams of the page refer to instead of repeating it."""
        palette = diagram.colours({diagram.family(spec) for spec, _ in self.specs.items})
        blocks = [
            diagram.block_svg(spec, palette[diagram.family(spec)], name, self.choices)
            for spec, name in self.specs.items
        ]
        shapes = [diagram.shape_svg(output) for output in self.outputs.items]
        return [(f"b{i}", svg) for i, svg in enumerate(blocks)] + [(f"o{i}", svg) for i, svg in enumerate(shapes)]

    @property
    def cells(self) -> bool:
        """Whether any network is a stack of cells."""
        return any(isinstance(spec, Cell) for spec, _ in self.specs.items)

    def to_dict(self) -> dict[str, Any]:
        specs = [spec for spec, _ in self.specs.items]
        return {
            "width": diagram.WIDTH,
            "places": [place for _, place in self.places.items],
            "depths": [depth for depth, _ in self.places.items],
            "specs": [diagram.text(spec) for spec in specs],
            "heights": [diagram.height(spec) for spec in specs],
            "parts": [diagram.is_part(spec) for spec in specs],
            "boxed": [diagram.is_boxed(spec) for spec in specs],
            "whole": [drawn_whole(spec) for spec in specs],
            "outputs": [str(output) for output in self.outputs.items],
        }


def payload(data: ReportData, drawings: Drawings) -> dict[str, Any]:
    """Everything the page's script needs, as plain data; fills `drawings` with every architecture of the study."""
    trials = data.trials
    strings = Interned()
    names = present_metrics(trials)
    shown = axes(data)
    named = dict.fromkeys(
        [*names, *(name for axis in shown.all for name in axis.metrics), *map(canonical, data.budget)]
    )
    return {
        "columns": names,
        "metrics": {name: _metric(METRICS[name], trials) for name in named},
        "axes": [_axis(axis) for axis in shown.all],
        "start": {"x": shown.x.key, "y": shown.y.key},
        "objectives": [axis.key for axis in (shown.y, shown.x)],
        "budget": {canonical(name): list(bounds) for name, bounds in data.budget.items()},
        "states": list(STATES),
        "number": trials["number"].astype(int).tolist(),
        "state": [STATES.index(state) for state in trials["state"]],
        "reason": [strings.index(_word(reason)) for reason in trials["reason"]],
        "origin": [strings.index(_word(origin)) for origin in trials["origin"]],
        "digest": [_word(digest) for digest in trials["digest"]],
        "seconds": _numbers(trials["seconds"], 4),
        "front": [int(i) for i, member in enumerate(trials["front"]) if member],
        "estimated": [int(i) for i in estimated_front(data).nonzero()[0]],
        "picked": next((i for i, picked in enumerate(trials["picked"]) if picked), None),
        "values": {name: _values(trials, name) for name in names},
        "choices": _choices(trials),
        "lines": [drawings.add(_architecture(text)) if _word(text) else [] for text in trials["architecture"]],
        "drawings": drawings.to_dict(),
        "references": _references(data.references),
        "hypervolume": hypervolume_curve(data),
        "strings": strings.items,
    }


def to_json(payload: Mapping[str, Any]) -> str:
    """JSON that is safe inside a `<script>` element: no character in it can end the element or open a comment."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _architecture(text: str) -> Architecture:
    return Architecture.from_dict(json.loads(text))


def _metric(metric: Metric, trials: pd.DataFrame) -> dict[str, Any]:
    """What the page needs to print a metric: one unit for the whole report, the one that suits the middle candidate."""
    middle = float(trials[metric.name].median()) if metric.name in trials else math.nan
    unit, size = metric.unit_for(0.0 if math.isnan(middle) else middle)
    facts = {"name": metric.name, "title": metric.title, "direction": metric.direction, "digits": metric.digits}
    return {**facts, "unit": unit, "scale": size}


def _axis(axis: Axis) -> dict[str, Any]:
    return {"key": axis.key, "title": axis.title, "metrics": list(axis.metrics)}


def _values(trials: pd.DataFrame, name: str) -> dict[str, Any]:
    columns = {"v": _numbers(trials[name], 7)}
    if f"{name}.spread" in trials:
        columns["s"] = _numbers(trials[f"{name}.spread"], 7)
    if f"{name}.samples" in trials:
        columns["n"] = [None if v is None else int(v) for v in _numbers(trials[f"{name}.samples"], 9)]
    if f"{name}.provenance" in trials:
        kinds = "".join(PROVENANCE.get(str(kind), "-") for kind in trials[f"{name}.provenance"])
        return {**columns, "p": kinds}
    return {**columns, "p": "-" * len(trials)}


def _numbers(column: Iterable[Any], digits: int) -> list[float | int | None]:
    """Numbers with at most `digits` significant digits, whole numbers in full; None where there is no finite number."""
    numbers: list[float | int | None] = []
    for value in column:
        number = math.nan if value is None else float(value)
        if not math.isfinite(number):
            numbers.append(None)
        elif number.is_integer():
            numbers.append(int(number))
        else:
            numbers.append(float(f"{number:.{digits}g}"))
    return numbers


def _choices(trials: pd.DataFrame) -> dict[str, Any]:
    """The label chosen at every site by every trial: options are stored once a site, trials as their index or None.

    An option that is nothing (no gate) is written "None", as in Python: an empty cell means that there is no such site.
    """
    parsed = [json.loads(text) if _word(text) else {} for text in trials["sites"]]
    sites = list(dict.fromkeys(site for chosen in parsed for site in chosen))
    options = {site: Interned() for site in sites}
    picked = [[options[site].index(str(c[site])) if site in c else None for site in sites] for c in parsed]
    return {"sites": sites, "options": [options[site].items for site in sites], "picked": picked}


def open_fields(trials: pd.DataFrame) -> frozenset[str]:
    """The names of the fields that candidates differ in, as far as the names of their choices tell: "core", "kernel"."""
    sites = _choices(trials)["sites"]
    return frozenset(site.rpartition(".")[2] for site in sites)


def _references(references: pd.DataFrame) -> dict[str, Any]:
    if references.empty:
        return {"name": [], "values": {}}
    values = {name: _values(references, name) for name in present_metrics(references)}
    return {"name": [str(name) for name in references["name"]], "values": values}


def _word(value: Any) -> str:
    """`value` as text; "" for what pandas puts where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)
