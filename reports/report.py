"""The Pareto report of a study: one HTML file that opens offline and holds everything it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfront.hw_profiles.metrics import METRICS, metric
from archfront.space.errors import ArchfrontError, nearest
from archfront.space.files import write_text

from . import audit, figures, summary
from .payload import STATES, Drawings, open_fields, payload, to_json

if TYPE_CHECKING:
    import pandas as pd

Bounds = tuple[float | None, float | None]

COLUMNS = (
    "number", "state", "reason", "origin", "digest", "architecture", "seconds", "front", "picked", "sites",
)  # fmt: skip
"""Columns that every table of trials has, beside `m`, `m.provenance`, `m.spread`, `m.samples` for metrics `m`."""


SCRIPTS = ("values.js", "scatter.js", "limits.js", "table.js", "networks.js", "report.js")
"""The scripts of the page, in the order in which they build on each other."""


@dataclass(frozen=True)
class ReportData:
    """All that a report says about one study.

    Args:
        title: name of the study.
        created: when the report was made, ISO 8601.
        space_text: the space as a tree of text.
        space_size: how many architectures it holds.
        input: the input type in words.
        data: what the networks were trained and scored on.
        objectives: names of the metrics that the front trades off, at least two.
        budget: lower and upper bound of metrics; None where there is none.
        trials: one row a candidate; see `COLUMNS`. `state` is "complete", "infeasible" or "failed", `architecture` and
            `sites` are JSON, `front` marks the final front, `picked` the exported architecture.
        references: known architectures on the same device, with the same metric columns and `name`; may be empty.
        configuration: the resolved study.toml.
        environment: versions, machine, profile.
        notes: what a reader must know before trusting a number.
        audit: what a rank audit found (`search.audit`), if there was one.
        left_out: what of the data was left out, and why.

    Raises:
        ArchfrontError: a column is missing, a state, or the name of an objective or budget is unknown.
    """

    title: str
    created: str
    space_text: str
    space_size: int
    input: str
    data: str
    objectives: tuple[str, ...]
    budget: Mapping[str, Bounds]
    trials: pd.DataFrame
    references: pd.DataFrame
    configuration: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    audit: Mapping[str, Any] | None = None
    left_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.objectives) < 2:
            raise ArchfrontError(f"a Pareto report needs at least two objectives, got {list(self.objectives)}")
        for name in (*self.objectives, *self.budget):
            metric(name)
        missing = [name for name in COLUMNS if name not in self.trials]
        if missing:
            raise ArchfrontError(f"the table of trials lacks the columns {', '.join(missing)}")
        for state in sorted(set(self.trials["state"]) - set(STATES)):
            raise ArchfrontError(f"unknown state of a trial {state!r}{nearest(state, STATES)}")


def render(data: ReportData) -> str:
    """The report as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    drawings = Drawings(open_fields(data.trials))
    block = to_json(payload(data, drawings))
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html").render(
        data=data,
        answer=summary.answer(data),
        evidence=summary.evidence(data),
        front=summary.front_table(data),
        coverage=summary.coverage(data),
        effects=_effects(data),
        audit=audit.section(data.audit),
        hypervolume=figures.hypervolume_curve(data) is not None,
        configuration=list(flatten(data.configuration)),
        environment=list(flatten(data.environment)),
        cells=drawings.cells,
        fragments=[(name, Markup(svg)) for name, svg in drawings.fragments()],
        payload=Markup(block),
        style=Markup(_asset("report.css")),
        scripts=[Markup(_asset(name)) for name in SCRIPTS],
        plotly=Markup(get_plotlyjs()),
        metrics=METRICS,
    )


def write(data: ReportData, path: str | Path) -> None:
    """Write the report to `path`, at once or not at all."""
    write_text(path, render(data))


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested mappings as (dotted key, value in words)."""
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value))
        else:
            yield name, str(value)


def _effects(data: ReportData) -> list[dict[str, Any]]:
    """For each objective its strongest choices, drawn on one axis."""
    groups = []
    for name in data.objectives:
        of = METRICS[figures.search_metric(data.trials, figures.canonical(name))]
        found = figures.effects(data, of.name)
        if not found:
            continue
        low, high = figures.extent(found, of)
        rows = [(effect, figures.effect_svg(effect, of, low, high)) for effect in found]
        groups.append({"metric": of, "rows": rows})
    return groups


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
