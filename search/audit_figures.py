"""What an audit finds out: how the orders of some networks by different ratings agree with their accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfront.evaluators import audit as statistics
from archfront.evaluators.audit import Estimate
from archfront.evaluators.proxies import PROXIES
from archfront.hw_profiles.metrics import metric
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError

COUNTS = ("macs", "params")
"""What a supernet has to be better than: the larger the network, the more accurate."""

HARDLY = 0.5
"""Rank correlation between seeds below which the architectures cannot be ranked at all at this effort."""

LEVEL = (
    "Under one seed all networks came out equally accurate, so how well two trainings agree is undefined, and at this "
    "effort nothing can be said about the supernet: train longer, on more images, or spread the networks further."
)
"""The verdict where trainings give no order."""


@dataclass(frozen=True)
class Network:
    """One audited architecture: its accuracy under every seed, and its ratings by name."""

    architecture: Architecture
    group: str
    accuracies: tuple[float, ...]
    ratings: Mapping[str, float]

    @property
    def accuracy(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.accuracies))


def compare(group: str, networks: Sequence[Network], rating: str = "supernet_accuracy") -> dict[str, Any]:
    """What the orders of a group of architectures have in common, as plain data; see `Agreement` for the figures.

    `rating` is the metric that the supernet rates by, higher is better. `advantage` is how much higher Spearman's rho of
    the supernet is than that of the better count, multiply-adds or parameters, with its interval; `beyond` is what a rating
    tells of accuracy that multiply-adds do not. `ceiling`, how well trainings agree, is None with one seed, and where a
    seed makes all networks equally accurate.
    """
    if len(networks) < 4:
        raise ArchfrontError(f"{len(networks)} architectures of group {group!r} could be trained; an audit needs 4")
    truth = np.array([network.accuracy for network in networks])
    seeds = np.array([network.accuracies for network in networks]).T
    macs = [network.ratings["macs"] for network in networks]
    draws = statistics.bootstrap(len(networks))
    top = max(1, len(networks) // 4)
    columns = {name: [network.ratings[name] for network in networks] for name in (rating, *COUNTS, *PROXIES)}
    found = {name: statistics.agreement(values, truth, top, draws) for name, values in columns.items()}
    count = max(COUNTS, key=lambda name: found[name].spearman.value)
    gain = statistics.advantage(columns[rating], columns[count], truth, draws)
    level = len(seeds) > 1 and bool((np.ptp(seeds, axis=1) == 0).any())  # equal accuracies have no order to agree with
    ceiling = statistics.ceiling(seeds, draws) if len(seeds) > 1 and not level else None
    return {
        "name": group,
        "count": len(networks),
        "top": top,
        "macs": [min(macs), max(macs)],
        "accuracy": [float(truth.min()), float(truth.max())],
        "ceiling": None if ceiling is None else {"spearman": list(ceiling[0]), "kendall": list(ceiling[1])},
        "ratings": [
            {"name": name, "title": metric(name).title, "spearman": list(a.spearman), "kendall": list(a.kendall),
             "beyond": None if name == "macs" else list(statistics.beyond(columns[name], macs, truth, draws)),
             "recall": a.recall, "regret": a.regret}
            for name, a in found.items()
        ],
        "advantage": {"over": count, "spearman": list(gain)},
        "verdict": LEVEL if level else
            verdict(found[rating].spearman, gain, metric(count).title, ceiling[0] if ceiling else None),
    }  # fmt: skip


def verdict(supernet: Estimate, gain: Estimate, count: str, ceiling: Estimate | None) -> str:
    """In one or two sentences, what the figures say about the supernet."""
    rho = f"Spearman {_text(supernet.value)}, 95 % interval {_text(supernet.low)} to {_text(supernet.high)}"
    if ceiling is not None and ceiling.value < HARDLY:
        return (
            f"Two trainings of the same networks hardly agree (Spearman {_text(ceiling.value)}), so at this effort nothing "
            f"can be said about the supernet ({rho}): train longer, on more images, or spread the networks further."
        )
    if gain.low <= 0:
        text = f"The supernet orders these networks no better than counting them does ({rho}; {count} reach "
        text += f"{_text(supernet.value - gain.value)}): its ratings add nothing that can be told from chance."
    else:
        text = f"The supernet orders these networks better than counting does ({rho}; {count} reach "
        text += f"{_text(supernet.value - gain.value)})."
    if ceiling is None:
        return f"{text} With one seed it is not known how much of the order is chance."
    return f"{text} Two trainings of the same networks agree with Spearman {_text(ceiling.value)}."


def _text(correlation: float) -> str:
    return f"{round(correlation, 2) + 0.0:.2f}".replace("-", "−")  # and no minus before zero


def plain(network: Network) -> dict[str, Any]:
    """A network as plain data; a rating that is not finite is None."""
    ratings = {name: value if np.isfinite(value) else None for name, value in network.ratings.items()}
    return {
        "digest": network.architecture.digest,
        "group": network.group,
        "architecture": network.architecture.to_dict(),
        "accuracy": network.accuracy,
        "accuracies": list(network.accuracies),
        "ratings": ratings,
    }
