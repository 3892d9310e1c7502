"""The section on the rank audit: the verdict, the figures of every rating, and the supernet against training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from archfront.hw_profiles.metrics import METRICS

WIDTH, HEIGHT, LEFT, BOTTOM, PAD = 460, 320, 56, 44, 12

TITLES = {"spread": "Spread over the range of cost", "narrow": "In a narrow band of cost"}


def section(audit: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """For each group of networks its title, verdict, table and plot; nothing where there was no audit."""
    if audit is None:
        return []
    rating = audit.get("rating", "supernet_accuracy")  # which was the only one once
    return [
        {
            "title": TITLES.get(group["name"], group["name"]),
            "facts": facts(group, audit),
            "verdict": group["verdict"],
            "top": group["top"],
            "rows": [row(one) for one in group["ratings"]],
            "plot": scatter([n for n in audit["networks"] if n["group"] == group["name"]], rating),
        }
        for group in audit["groups"]
    ]


def facts(group: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    """How many networks of which cost were trained for how long."""
    low, high = (METRICS["macs"].format(value) for value in group["macs"])
    options, data = audit["options"], audit["data"]
    return (
        f"{group['count']} networks of {low} to {high} multiply-adds, trained alone on {data['train']:,} images, "
        f"{options['epochs']} epochs, {options['seeds']} seeds; accuracy on {data['validation']:,} validation images"
    )


def row(rating: Mapping[str, Any]) -> dict[str, str]:
    """The figures of one rating in words."""
    return {
        "title": rating["title"],
        "spearman": interval(rating["spearman"]),
        "kendall": interval(rating["kendall"]),
        "beyond": interval(rating["beyond"]) if rating.get("beyond") else "–",  # which older audits do not have
        "recall": f"{100 * rating['recall']:.0f} %",
        "regret": f"{100 * rating['regret']:.1f}",
    }


def interval(estimate: Sequence[float]) -> str:
    """A correlation with its interval."""
    value, low, high = (round(figure, 2) + 0.0 for figure in estimate)  # no minus before zero
    return f"{value:.2f} ({low:.2f} to {high:.2f})".replace("-", "\u2212")


def scatter(networks: Sequence[Mapping[str, Any]], rating: str) -> Markup:
    """Accuracy alone (up, a bar from the least to the greatest of the seeds) against the supernet's rating (right).

    Networks for which the supernet has no finite rating are left out.
    """
    of = METRICS[rating]
    unit, size = of.unit_for(1.0)
    rated = [n for n in networks if n["ratings"][rating] is not None]
    points = [(n["ratings"][rating] / size, n["accuracy"], n["accuracies"]) for n in rated]
    if not points:
        return Markup("")
    x = Scale([estimate for estimate, _, _ in points], LEFT, WIDTH - PAD)
    y = Scale([100 * value for _, _, values in points for value in values], HEIGHT - BOTTOM, PAD)
    marks = [
        Markup(
            '<path class="audit-bar" d="M{0} {1}V{2}"/><circle class="audit-point" cx="{0}" cy="{3}" r="4"/>'
        ).format(x.at(estimate), y.at(100 * min(values)), y.at(100 * max(values)), y.at(100 * value))
        for estimate, value, values in points
    ]
    bottom = HEIGHT - BOTTOM
    for value in x.ticks:
        marks.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{:g}</text>').format(x.at(value), bottom + 16, value)
        )
    for value in y.ticks:
        marks.append(
            Markup('<text x="{}" y="{}" dy="4" text-anchor="end">{:g}</text>').format(LEFT - 8, y.at(value), value)
        )
    return Markup(
        '<svg class="audit-plot" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-label="Accuracy alone over {what}, {n} networks">'
        '<path class="axis" d="M{l} {p}V{b}H{r}"/>{marks}'
        '<text x="{m}" y="{t}" text-anchor="middle">{what}</text>'
        '<text transform="translate(14 {c}) rotate(-90)" text-anchor="middle">Trained alone, %</text></svg>'
    ).format(
        w=WIDTH, h=HEIGHT, n=len(points), l=LEFT, p=PAD, b=bottom, r=WIDTH - PAD, marks=Markup("").join(marks),
        what=f"{of.title}, {unit}" if unit else of.title, m=(LEFT + WIDTH - PAD) / 2, t=HEIGHT - 8, c=(PAD + bottom) / 2,
    )  # fmt: skip


class Scale:
    """An axis over some values, from pixel `start` to pixel `end`, with about four round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        margin = 0.05 * (high - low) or 1.0
        self.low, self.high = low - margin, high + margin
        self.start, self.end = start, end

    def at(self, value: float) -> str:
        """Where a value stands, in pixels."""
        return f"{self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low):.1f}"

    @property
    def ticks(self) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        span = self.high - self.low
        step = next(step for step in _steps() if span / step <= 5)
        first = int(self.low // step) + 1
        return [step * i for i in range(first, int(self.high // step) + 1)]


def _steps() -> list[float]:
    return [factor * 10.0**power for power in range(-4, 4) for factor in (1, 2, 5)]
