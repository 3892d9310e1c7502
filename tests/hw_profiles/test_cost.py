"""The cost of architectures: sums over parts against whole networks, fvcore against torch's own counter."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import archfront.space.library  # noqa: F401 - registers the blocks
from archfront.hw_profiles import cost as room
from archfront.hw_profiles.cost import Cost, CostError, cost, cost_of_parts, count, part_cost
from archfront.hw_profiles.metrics import METRICS, Measurement
from archfront.space.architecture import Architecture
from archfront.space.domains import int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Part, Stage
from archfront.space.space import Space
from archfront.space.spec import Block, registry
from archfront.space.types import Feature, FeatureType, Image

torch.set_num_threads(1)

SPACE = Space(
    input=Image(3, 32, 32),
    network=Network(
        stem=ConvStem(width=one_of(16, 24, 32)),
        stages=(
            Stage(
                width=one_of(24, 32, 48),
                depth=int_range(1, 3),
                block=MBConv(kernel=one_of(3, 5, 7), expand=one_of(3, 4, 6), gate=one_of(None, SqueezeExcite())),
            ),
            Stage(
                width=one_of(48, 64, 96),
                depth=int_range(1, 4),
                stride=2,
                block=one_of(
                    MBConv(kernel=one_of(3, 5)),
                    MetaFormer(mixer=one_of(WindowAttention(window=one_of(4, 8)), LargeKernel(), SelfAttention())),
                ),
            ),
        ),
        head=Classifier(classes=10),
    ),
)


def fcm(module: nn.Module, x: FeatureType) -> int:
    """Half of what torch's own counter finds on the meta device, where it takes attention apart."""
    module = module.eval().to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*x.example(make=torch.zeros, device="meta"))
    return int(counter.get_total_flops()) // 2


# ------------------------------------------------------------------ whole networks


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_of_an_architecture_add_up_to_the_whole_network_in_every_number(seed: int) -> None:
    architecture = SPACE.sample(seed)
    whole = architecture.build()
    assert cost(architecture) == count(whole, architecture.input)
    assert cost(architecture).contractions == fcm(whole, architecture.input)


def test_a_network_costs_what_a_person_works_out() -> None:
    network = Network(
        stem=ConvStem(width=8, stride=1),
        stages=(Stage(width=8, block=MBConv(kernel=3, expand=2, activation="relu6")),),
        head=Classifier(classes=10),
    )
    found = cost(Architecture(Image(3, 8, 8), network))
    positions = 64
    stem, expand, depthwise, project = 27 * 8, 8 * 16, 9 * 16, 16 * 8
    assert found.contractions == positions * (stem + expand + depthwise + project) + 8 * 10
    norms, pool = 2 * (8 + 16 + 16 + 8), 8
    assert found.macs == found.contractions + positions * (norms + pool)
    assert found.params == stem + expand + depthwise + project + norms + 8 * 10 + 10
    assert found.activations == positions * (8 + 16 + 16 + 8) + 10


# ------------------------------------------------------------------ every block of the library

# ------------------------------------------------------------------ caching and errors


class Nothing(Block):
    """A block that counts how often it is built."""

    label: int = 0

    def build(self, x: Feature) -> nn.Module:
        BUILT.append(self.label)
        return nn.Identity()


BUILT: list[int] = []


def test_equal_parts_are_counted_once_wherever_they_stand() -> None:
    part_cost.cache_clear()
    BUILT.clear()
    stage = Stage(width=8, depth=3, block=Nothing(label=1))
    network = Network(stem=ConvStem(width=8), stages=(stage, stage), head=Classifier(classes=2))
    cost(Architecture(Image(3, 8, 8), network))
    cost(Architecture(Image(3, 8, 8), replace(network, head=Classifier(classes=3))))
    assert BUILT == [1]


def test_counting_leaves_the_random_state_alone() -> None:
    part_cost.cache_clear()
    before = torch.get_rng_state()
    cost(SPACE.sample(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_any_order_of_counting_gives_the_same_costs() -> None:
    architectures = [SPACE.sample(seed) for seed in range(6)]
    first = [cost(architecture) for architecture in architectures]
    part_cost.cache_clear()
    random.Random(0).shuffle(order := list(range(6)))
    again = {i: cost(architectures[i]) for i in order}
    assert first == [again[i] for i in range(6)]


class Unknown(Block):
    """A block with an operator that nobody gave a cost."""

    def build(self, x: Feature) -> nn.Module:
        class Bessel(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.special.bessel_j0(x)

        return Bessel()


for local in (Nothing, Unknown):
    del registry[local.__name__]  # other tests go through all registered blocks


def test_an_operator_without_a_cost_is_an_error_that_names_the_part() -> None:
    network = Network(
        stem=ConvStem(width=8), stages=(Stage(width=8, depth=2, block=Unknown()),), head=Classifier(classes=2)
    )
    with pytest.raises(CostError, match=r"^stages\[0\]\.blocks\[0\]: .*aten::special_bessel_j0.*Bessel"):
        cost(Architecture(Image(3, 8, 8), network))


def test_no_parts_cost_nothing() -> None:
    assert cost_of_parts([]) == Cost()


def test_the_peak_of_parts_is_the_largest_and_the_rest_adds_up() -> None:
    x = Feature(16, (8, 8))
    part = Part("", MBConv(), x)
    one, two = cost_of_parts([part]), cost_of_parts([part, part])
    assert two.peak_bytes == one.peak_bytes
    assert {name: 2 * value for name, value in asdict(one).items() if name != "peak_bytes"} == {
        name: value for name, value in asdict(two).items() if name != "peak_bytes"
    }


def test_measurements_are_exact_and_of_known_metrics() -> None:
    measurements = Cost(macs=1, contractions=2, params=3, activations=4, peak_bytes=5).measurements()
    assert measurements == {
        "macs": Measurement(1, "exact"),
        "params": Measurement(3, "exact"),
        "activations": Measurement(4, "exact"),
        "peak_bytes": Measurement(5, "exact"),
    }
    assert measurements.keys() <= METRICS.keys()


def test_all_numbers_are_plain_integers() -> None:
    assert {type(value) for value in asdict(cost(SPACE.sample(1))).values()} == {int}


def test_threads_get_the_same_costs_and_leave_fused_attention_switched_on() -> None:
    from concurrent.futures import ThreadPoolExecutor

    architectures = [SPACE.sample(seed) for seed in range(4)] * 3
    expected = [cost(architecture) for architecture in architectures]
    room.part_cost.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(cost, architectures)) == expected
    assert torch.backends.mha.get_fastpath_enabled()
