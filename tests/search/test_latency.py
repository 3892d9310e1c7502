"""Predicted latency inside a search: the bound on sums of part latencies lets every network through that keeps its own."""

from pathlib import Path

import numpy as np
import pytest

from archfront.hw_profiles.calibration import accuracy
from archfront.hw_profiles.profile import local_profile
from archfront.hw_profiles.table import LatencyTable
from archfront.hw_profiles.table_file import Block, Net
from archfront.search.budget import Bound
from archfront.search.config import LatencyConfig
from archfront.search.latency import LatencyModel, is_poor
from archfront.search.progress import Silent
from archfront.space.domains import int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import Image

SPACE = Space(
    input=Image(3, 8, 8),
    network=Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=one_of(16, 128, 512), depth=int_range(1, 3), block=MBConv(expand=one_of(2.0, 4.0))),),
        head=Classifier(classes=4),
    ),
)


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    """On a machine where networks of more than 1 MiB of weights take more than their parts."""
    profile = local_profile()
    table = LatencyTable(profile)
    for index, part in enumerate(dict.fromkeys((part.spec, part.input) for part in SPACE.parts())):
        table.blocks[part] = Block(0.05 + 0.01 * (index % 7), 0.01, 0.02 + 0.01 * (index % 3))
    networks = list(dict.fromkeys(SPACE.sample(seed) for seed in range(60)))[:12]
    sums = table.sums(networks)
    truth = sums.ms + sums.refill[:, 0] / (1 + (2**20 / sums.weights) ** 4)
    table.nets = [Net(network, (ms,)) for network, ms in zip(networks, map(float, truth), strict=True)]
    found = LatencyModel(SPACE, profile, LatencyConfig(), Path("unused"), 0, Silent(), lambda _: None)
    vars(found)["table"] = table  # a cached property that would measure
    return found


def test_no_network_that_keeps_a_bound_is_lost_to_the_bound_on_its_sum(model: LatencyModel) -> None:
    networks = [SPACE.sample(seed) for seed in range(80)]
    predicted = np.array([model.predict(network).value for network in networks])
    total = np.array([sum(model.part_ms(part.spec, part.input) for part in network.parts) for network in networks])
    assert (predicted / total).max() > 1.3 > 1.1 > (predicted / total).min()  # the rule is not the sum
    for limit in np.percentile(predicted, (10, 50, 90)):
        above = model.sum_bound(Bound("latency_ms", -np.inf, float(limit)))
        assert all(above.holds(s) for s, p in zip(total, predicted, strict=True) if p <= limit)
        below = model.sum_bound(Bound("latency_ms", float(limit), np.inf))
        assert all(below.holds(s) for s, p in zip(total, predicted, strict=True) if p >= limit)


def test_predictions_that_are_far_off_or_in_another_order_are_poor() -> None:
    rng = np.random.default_rng(0)
    truth = np.linspace(1.0, 2.0, 16)
    assert not is_poor(accuracy(1.05 * truth, truth))
    assert is_poor(accuracy(1.45 * truth, truth))  # in the right order, and off by almost half
    assert is_poor(accuracy(truth.mean() + 0.01 * rng.normal(size=16), truth))  # near, and in no order
    assert is_poor(accuracy(np.full(16, np.nan), truth))


def test_an_open_bound_stays_open(model: LatencyModel) -> None:
    found = model.sum_bound(Bound("latency_ms", -np.inf, np.inf))
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_a_typical_latency_at_the_sum_of_a_measured_network_is_the_one_predicted_for_it(model: LatencyModel) -> None:
    for net in model.table.nets:
        total = float(model.table.sums([net.architecture]).ms[0])
        alike = [n for n in model.table.nets if model.table.sums([n.architecture]).ms[0] == pytest.approx(total)]
        if len(alike) == 1:
            assert model.typical(total) == pytest.approx(model.predict(net.architecture).value)
