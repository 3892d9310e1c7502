"""Who is on the front of the finalists, and who of these is picked."""

from __future__ import annotations

from archfront.hw_profiles.metrics import Measurement
from archfront.search.budget import Budget
from archfront.search.final import Finalist, decide
from archfront.space.architecture import Architecture
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network
from archfront.space.types import Image

METRICS = ("accuracy", "latency_ms")


def finalist(number: int, accuracy: float, latency: float) -> Finalist:
    network = Network(stem=ConvStem(width=4 + number), stages=(), head=Classifier(classes=2))
    measured = {"accuracy": Measurement(accuracy, "measured"), "latency_ms": Measurement(latency, "measured")}
    return Finalist(number, Architecture(Image(3, 8, 8), network), measured)


def test_of_equally_accurate_networks_the_faster_one_is_picked_whoever_comes_first() -> None:
    found = decide([finalist(0, 0.9, 2.0), finalist(1, 0.9, 1.0), finalist(2, 0.8, 0.5)], METRICS, Budget.parse(""))
    assert [(f.front, f.picked) for f in found] == [(False, False), (True, True), (True, False)]


def test_what_breaks_the_budget_is_neither_on_the_front_nor_picked() -> None:
    found = decide([finalist(0, 0.9, 2.0), finalist(1, 0.8, 1.0)], METRICS, Budget.parse("latency<=1.5ms"))
    assert [(f.front, f.picked) for f in found] == [(False, False), (True, True)]
    none = decide([finalist(0, 0.9, 2.0)], METRICS, Budget.parse("latency<=1.5ms"))
    assert not none[0].front and not none[0].picked
