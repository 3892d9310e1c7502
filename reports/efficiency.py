"""Figures of efficiency: waterline, roofline, where the latency goes, and the efficiency gap; and a page of them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archfront.hw_profiles.peaks import Peaks
from archfront.hw_profiles.roofline import LEVELS, Efficiency, Kernel, Level, attainable_seconds, waterline
from archfront.space.files import write_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COMPUTE, MEMORY, LINE, CACHE_LINE = "#0072b2", "#d55e00", "#333333", "#888888"
"""Okabe and Ito's colours, which everybody can tell apart."""

TERMS = {
    "compute": ("computing", COMPUTE, ""),
    "memory": ("waiting for memory", MEMORY, "/"),
    "kernel": ("kernel inefficiency", "#009e73", "x"),
    "overhead": ("calling the runtime", "#cc79a7", "."),
}
"""Title, colour and pattern of every term of a latency."""


def waterline_figure(
    kernels: Sequence[Kernel], peaks: Peaks, level: Level = "cache", title: str = "Waterline"
) -> Figure:
    """A bar a kernel, as wide as its bytes and as high as its intensity, coloured by what it waits for at `level`.

    Above both lines that is computing and below both memory; in between it depends on where the data comes from. The
    kernels may be measured or modelled, fused or not; those that move nothing are left out.
    """
    from plotly.graph_objects import Figure

    chart, figure = waterline(kernels, peaks, level), Figure()
    drawn = [kernel for kernel in kernels if kernel.bytes]
    least = attainable_seconds(drawn, peaks, level)
    for bound, colour in (("computing", COMPUTE), ("memory", MEMORY)):
        rows = [i for i, kernel in enumerate(drawn) if (bound == "computing") == _computes(kernel, least[i], peaks)]
        figure.add_bar(
            x=[chart.edges[i] / MIB for i in rows],
            y=[chart.intensities[i] for i in rows],
            width=[drawn[i].bytes / MIB for i in rows],
            offset=0,
            marker={"color": colour, "line": {"width": 0.5, "color": "white"}},
            name=f"waits for {bound}",
            customdata=[(drawn[i].name, _times(drawn[i], least[i], sum(least))) for i in rows],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>%{y:.3g} FLOP/byte, %{width:.3g} MiB<extra></extra>",
        )
    for balance, words, colour in ((peaks.balance, "memory", LINE), (peaks.cache_balance, "cache", CACHE_LINE)):
        figure.add_hline(balance, line={"color": colour, "dash": "dash"}, annotation_text=f"{words}: {balance:.3g}")
    return _styled(figure, title, "bytes moved so far (MiB)", "intensity (FLOP/byte)")


MIB = 2.0**20


def _computes(kernel: Kernel, least: float, peaks: Peaks) -> bool:
    return kernel.flops > 0 and least <= kernel.flops / peaks.flops_per_s


def _times(kernel: Kernel, least: float, whole: float) -> str:
    """The time that a kernel takes at least, its share in that of all, and what was measured where something was."""
    attainable = f"{1e3 * least:.3g} ms at least, {least / whole:.1%} of all"
    return attainable if math.isnan(kernel.seconds) else f"{attainable}; {1e3 * kernel.seconds:.3g} ms measured"


def roofline_figure(found: Efficiency) -> Figure:
    """Rates that kernels reach over their intensity, under the roofs of main memory and of the cache."""
    from plotly.graph_objects import Figure

    frame = found.frame()
    frame = frame[(frame["flops"] > 0) & (frame["intensity"] > 0)]
    peaks, figure = found.peaks, Figure()
    for rate, words, colour in (
        (peaks.bytes_per_s, "roof: main memory", LINE),
        (peaks.cache_bytes_per_s, "roof: cache", CACHE_LINE),
    ):
        ridge = peaks.flops_per_s / rate
        x = [min(0.1, ridge), ridge, max(1e3, 2 * ridge)]
        y = [min(i * rate, peaks.flops_per_s) / 1e9 for i in x]
        figure.add_scatter(x=x, y=y, mode="lines", name=words, line={"color": colour}, hoverinfo="skip")
    figure.add_scatter(
        x=frame["intensity"],
        y=frame["flops"] / frame["seconds"] / 1e9,
        mode="markers",
        name="kernels (area: time)",
        marker={"color": COMPUTE, "size": 6 + 40 * frame["share"] ** 0.5, "opacity": 0.6},
        text=frame["name"],
        customdata=list(zip(1e3 * frame["seconds"], frame["efficiency"], strict=True)),
        hovertemplate="%{text}<br>%{x:.3g} FLOP/byte, %{y:.4g} GFLOP/s<br>%{customdata[0]:.3g} ms, "
        "efficiency %{customdata[1]:.0%}<extra></extra>",
    )
    decades = {"type": "log", "dtick": 1}  # ticks at every digit would overlap
    figure.update_xaxes(decades)
    figure.update_yaxes(decades)
    return _styled(figure, "Roofline", "intensity (FLOP/byte)", "GFLOP/s")


def terms_figure(found: Sequence[Efficiency]) -> Figure:
    """The latency of every network, stacked from its terms; with data from the cache where it fits, and without."""
    from plotly.graph_objects import Figure

    figure = Figure()
    rows = [(f"{e.name}<br>{words}", e.terms(level)) for e in found for level, words in zip(LEVELS, WORDS, strict=True)]
    for key, (title, colour, pattern) in TERMS.items():
        figure.add_bar(
            y=[name for name, _ in rows],
            x=[1e3 * getattr(terms, key) for _, terms in rows],
            orientation="h",
            name=title,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"{title}: %{{x:.3g}} ms<extra></extra>",
        )
    figure.update_layout(barmode="relative", height=220 + 50 * len(rows), yaxis_autorange="reversed")
    return _styled(figure, "Where the latency goes", "ms", "")


WORDS = ("all from memory", "cache where it fits")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SYMBOLS = 25
"""How many shapes of marker plotly numbers before their variants begin."""


def gap_figure(found: Sequence[Efficiency]) -> Figure:
    """Measured over ideal latency, both logarithmic: the distance above the diagonal is 1 / efficiency."""
    from plotly.graph_objects import Figure

    ideal = [1e3 * e.ideal_s for e in found]
    figure = Figure()
    low, high = 0.5 * min(ideal), 2 * max(ideal)
    for share in (1.0, 0.5, 0.25, 0.1):
        figure.add_scatter(
            x=[low, high], y=[low / share, high / share], mode="lines+text", text=["", f"{share:.0%}"],
            textposition="top left", line={"color": LINE if share == 1 else CACHE_LINE, "dash": "dot"},
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    for index, one in enumerate(found):
        figure.add_scatter(
            x=[1e3 * one.ideal_s],
            y=[1e3 * one.latency_s],
            mode="markers",
            name=one.name,
            marker={"color": COLOURS[index % len(COLOURS)], "symbol": index % SYMBOLS, "size": 11},
            hovertemplate=f"%{{fullData.name}}<br>ideal %{{x:.3g}} ms, measured %{{y:.3g}} ms, "
            f"efficiency {one.efficiency:.0%}<extra></extra>",
        )
    figure.update_layout(height=480 + 12 * len(found))
    figure.update_xaxes(type="log", dtick="D2")
    figure.update_yaxes(type="log", dtick="D2")
    return _styled(figure, "Efficiency gap", "ideal latency (ms)", "measured latency (ms)")


def _styled(figure: Figure, title: str, x: str, y: str) -> Figure:
    return figure.update_layout(
        title=title,
        xaxis_title=x,
        yaxis_title=y,
        template="plotly_white",
        margin={"l": 60, "r": 20, "t": 50, "b": 140},
        legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"},
        font={"family": "system-ui, sans-serif"},
    )


def page(found: Sequence[Efficiency], about: str = "") -> str:
    """One HTML page with the figures of one or more networks that opens offline.

    Args:
        found: at least one.
        about: what they were measured on, and on which input.
    """
    from plotly.offline import get_plotlyjs

    figures = [terms_figure(found), *([gap_figure(found)] if len(found) > 1 else [])]
    parts = [_drawn(figure) for figure in figures]
    for one in found:
        parts += [f"<h2>{html.escape(one.name)}</h2>", _facts(one)]
        parts += [_drawn(figure) for figure in (waterline_figure(one.kernels, one.peaks), roofline_figure(one))]
    told = f"<p>{html.escape(about)}</p>\n" if about else ""
    title = html.escape(found[0].name) if len(found) == 1 else f"{len(found)} networks"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Efficiency of {title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script></head>\n"
        f"<body><h1>Efficiency of {title}</h1>\n{told}{chr(10).join(parts)}\n<p>{EXPLANATION}</p></body></html>\n"
    )


def write_page(found: Sequence[Efficiency], path: str | Path, about: str = "") -> None:
    """Write `page` to a file, at once or not at all."""
    write_text(path, page(found, about))


STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;color:#222}h1{font-size:1.5rem}"
)

EXPLANATION = (
    "The latency is measured; its terms sum to it. Computing: operations at the measured peak of the machine. "
    "Waiting for memory: what the least time for moving bytes adds to that. Kernel inefficiency: what kernels take "
    "beyond both. In the waterline chart, a bar above both lines waits for computing, one below both for memory. "
    "Between them it depends on where its data comes from, and the colour says: activations come from the cache where "
    "they fit, weights where those of the whole network do. After Lavin, 2024, On the Efficiency of Convolutional Neural "
    "Networks."
)


def _drawn(figure: Figure) -> str:
    drawn: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False}
    )
    return drawn


def _facts(found: Efficiency) -> str:
    facts = (
        f"{1e3 * found.latency_s:.4g} ms measured, {1e3 * found.ideal_s:.4g} ms at the machine's peak: computational "
        f"efficiency {found.efficiency:.1%}. {found.peaks}. Node times are the profiler's times {found.scale:.2f}."
    )
    flags = "".join(f"<li>{html.escape(flag)}</li>" for flag in found.flags)
    return f"<p>{html.escape(facts)}</p>" + (f"<ul>{flags}</ul>" if flags else "")
