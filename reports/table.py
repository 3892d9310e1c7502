"""The page of a search in a table of finished experiments: what was evaluated, when, why, and what was missed."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from archfront.space.files import write_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from archfront.search.tables import Replay

GREY, FOUND, TRUE = "#bbbbbb", "#d55e00", "#0072b2"
"""Okabe and Ito's colours, which everybody can tell apart."""

MOST = 20_000
"""Rows that a figure shows at most, so that the page stays small."""

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;color:#222}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem}table{border-collapse:collapse;font-size:.9rem}"
    "th,td{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #ddd}.number{text-align:right}"
    ".scroll{overflow-x:auto}"
)


def write(search: Replay, title: str, settings: Mapping[str, object], path: Path) -> None:
    """Write the page; it opens offline."""
    write_text(path, page(search, title, settings))


def page(search: Replay, title: str, settings: Mapping[str, object]) -> str:
    """One HTML page.

    Args:
        search: with at least one evaluation.
        title: name of the study.
        settings: what the search was asked for, by name.
    """
    from plotly.offline import get_plotlyjs

    results = search.results()
    names = list(search.objectives)
    front = results[results["front"]].sort_values(names[0])
    columns = ["trial", *search.table.sites, *names, "origin"]
    members = ([_cell(value) for value in row] for row in front[columns].to_numpy(dtype=object))
    asked = ([name, _cell(value)] for name, value in settings.items())
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(summary(search))}</p>",
        *map(_drawn, (objectives_figure(search), regret_figure(search))),
        "<h2>The front that was found</h2>",
        _table(columns, members),
        "<h2>Why rows were evaluated</h2>",
        _table(("why", "evaluated", "of them on the front"), reasons(search), numbers=(1, 2)),
        "<h2>What was asked for</h2>",
        _table(("setting", "value"), asked),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script></head>\n"
        f"<body>{chr(10).join(parts)}</body></html>\n"
    )


def summary(search: Replay) -> str:
    """What was found, in two sentences."""
    names = list(search.objectives)
    corner = ", ".join(f"{name} {value:g}" for name, value in zip(names, search.reference.tolist(), strict=True))
    met = int(search.front[search.rows].sum())
    return (
        f"{len(search.rows):,} of {len(search.table):,} rows evaluated; {met} of the {int(search.front.sum())} rows on "
        f"the true front are among them, and {search.regret()[-1]:.1%} of its hypervolume is missing. Hypervolume is "
        f"counted from the median of the rows: {corner}."
    )


def reasons(search: Replay) -> list[list[object]]:
    """For every origin how many rows it brought, and how many of them are on the front that was found."""
    results = search.results()
    every, good = Counter(results["origin"]), Counter(results.loc[results["front"], "origin"])
    return [[origin, count, good[origin]] for origin, count in every.most_common()]


def objectives_figure(search: Replay) -> Figure:
    """The first two objectives of every row: not evaluated, evaluated, found front, true front."""
    from plotly.graph_objects import Figure

    (x, y), points = list(search.objectives)[:2], search.values[:, :2]
    rows, front = np.array(search.rows), np.flatnonzero(search.front)
    results = search.results()
    left = np.setdiff1d(np.flatnonzero(search.usable), rows)
    left = np.random.default_rng(0).choice(left, min(len(left), MOST), replace=False)
    figure = Figure()
    figure.add_scattergl(
        x=points[left, 0], y=points[left, 1], mode="markers", name="not evaluated", hoverinfo="skip",
        marker={"color": GREY, "size": 3},
    )  # fmt: skip
    figure.add_scattergl(
        x=points[rows, 0],
        y=points[rows, 1],
        mode="markers",
        name="evaluated",
        marker={"size": 7, "color": np.arange(len(rows)), "colorscale": "Viridis", "colorbar": {"title": "trial"}},
        text=[f"trial {number}: {html.escape(origin)}" for number, origin in enumerate(search.origins)],
        hovertemplate="%{text}<br>%{x:.5g}, %{y:.5g}<extra></extra>",
    )
    for members, name, colour, symbol in (
        (front, "front of the table", TRUE, "diamond-open"),
        (rows[results["front"].to_numpy()], "front that was found", FOUND, "circle-open"),
    ):
        line = members[np.argsort(points[members, 0])]
        figure.add_scatter(
            x=points[line, 0], y=points[line, 1], mode="lines+markers", name=name,
            line={"color": colour, "shape": "linear", "width": 1}, marker={"symbol": symbol, "size": 11},
        )  # fmt: skip
    return _styled(figure, "Objectives of every row", x, y)


def regret_figure(search: Replay) -> Figure:
    """The share of the true front's hypervolume that was still missing after each evaluation."""
    from plotly.graph_objects import Figure

    missing = search.regret()
    figure = Figure()
    figure.add_scatter(x=np.arange(1, len(missing) + 1), y=missing, mode="lines", line={"color": TRUE, "shape": "hv"})
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return _styled(figure, "Hypervolume still missing", "evaluations", "share of the true front's")


def _styled(figure: Figure, title: str, x: str, y: str) -> Figure:
    return figure.update_layout(
        title=html.escape(title),
        xaxis_title=html.escape(x),
        yaxis_title=html.escape(y),
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
        font={"family": "system-ui, sans-serif"},
    )


def _drawn(figure: Figure) -> str:
    drawn: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False}
    )
    return drawn


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in titles)
    cells = (
        "".join(f"<td{_class(i in numbers)}>{html.escape(str(cell))}</td>" for i, cell in enumerate(row))
        for row in rows
    )
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
