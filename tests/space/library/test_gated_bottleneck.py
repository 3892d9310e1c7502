"""A bottleneck with a gate in each of its places, and the counts of squeeze-and-excitation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.references.resnet import residual_network
from archfront.space.types import Feature, Image

X = Feature(16, (9, 7))
PLACES = ("standard", "pre", "post", "identity", "mid")


class Recorded(nn.Module):
    """Triples its input and keeps it."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return 3 * x


def built(placement: str, **options: object) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    options = {"gate": SqueezeExcite(ratio=1 / 16), **options}
    module = Bottleneck(placement=placement, width=24, stride=2, ratio=0.5, **options).build(X).double().eval()
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            nn.init.uniform_(child.bias, -0.5, 0.5)
    return module, X.example(2, dtype=torch.float64)[0]


@pytest.mark.parametrize("placement", PLACES)
def test_the_gate_acts_where_the_paper_puts_it(placement: str) -> None:
    module, x = built(placement)
    module.gate = Recorded()

    def at(place: str, value: Tensor) -> Tensor:
        return 3 * value if place == placement else value

    hidden = at("mid", torch.relu(module.norm(module.conv(module.reduce(at("pre", x))))))
    branch = at("standard", module.expand(hidden))
    expected = at("post", torch.relu(at("identity", module.shortcut(x)) + branch))
    torch.testing.assert_close(module(x), expected)
    assert module.gate.seen.shape[1] == {"pre": 16, "mid": 12}.get(placement, 24)


@pytest.mark.parametrize("stride_on", ["operator", "reduction"])
def test_without_a_gate_it_is_the_bottleneck_of_resnet_with_the_stride_where_it_is_asked_for(stride_on: str) -> None:
    module, x = built("standard", gate=None, stride_on=stride_on)
    plain = Bottleneck(width=24, stride=2, ratio=0.5).build(X).double().eval()
    plain.load_state_dict(module.state_dict())
    if stride_on == "reduction":
        plain.reduce.conv.stride, plain.conv.stride = (2, 2), (1, 1)
    torch.testing.assert_close(module(x), plain(x))


def test_squeeze_and_excitation_changes_the_parameters_with_its_place_as_the_widths_say() -> None:
    def gate(channels: int) -> int:
        hidden = channels // 4
        return 2 * channels * hidden + hidden + channels

    def parameters(placement: str, **options: object) -> int:
        return sum(p.numel() for p in built(placement, **options)[0].parameters())

    base = parameters("standard", gate=None)
    widths = {"standard": 24, "pre": 16, "post": 24, "identity": 24, "mid": 12}
    for placement, width in widths.items():
        assert parameters(placement, gate=SqueezeExcite(ratio=0.25)) == base + gate(width)


def test_se_resnet50_as_published_has_its_stride_on_the_1x1_convolutions_and_3_87_gmacs() -> None:
    network = residual_network(
        Bottleneck(gate=SqueezeExcite(ratio=1 / 16), stride_on="reduction"), (3, 4, 6, 3), 256, 1000
    )
    with torch.device("meta"):
        assert sum(p.numel() for p in network.build(Image(3, 224, 224)).parameters()) == 28_088_024
    total = sum(part_cost(part.spec, part.input).contractions for stage in network.parts(Image(3, 224, 224))
                for part in (stage.spec.parts(stage.input) if hasattr(stage.spec, "parts") else [stage]))  # fmt: skip
    assert total / 1e9 == pytest.approx(3.87, rel=0.005)


@pytest.mark.parametrize(("channels", "ratio", "size"), [(32, 0.25, (7, 5)), (64, 1 / 16, (4, 4))])
def test_squeeze_excite_costs_its_two_layers_and_one_addition_a_position(
    channels: int, ratio: float, size: tuple[int, int]
) -> None:
    hidden = int(channels * ratio)
    cost = part_cost(SqueezeExcite(ratio=ratio), Feature(channels, size))
    assert cost.macs == 2 * channels * hidden + channels * size[0] * size[1]
    assert cost.contractions == 2 * channels * hidden


def test_a_single_layer_makes_the_weights_where_there_is_no_ratio() -> None:
    torch.manual_seed(0)
    gate = SqueezeExcite(ratio=None, gate="hardsigmoid").build(X).double()
    (x,) = X.example(2, dtype=torch.float64)
    assert sum(p.numel() for p in gate.parameters()) == 16 * 16 + 16
    scores = x.flatten(2).mean(-1) @ gate.expand.weight.T + gate.expand.bias
    torch.testing.assert_close(gate(x), x * ((scores + 3) / 6).clamp(0, 1)[:, :, None, None])


@pytest.mark.parametrize(
    ("channels", "divisor", "hidden"), [(72, 8, 24), (120, 8, 32), (16, 8, 8), (240, 8, 64), (10, 1, 3)]
)
def test_the_inner_width_is_rounded_as_in_mobilenetv3(channels: int, divisor: int, hidden: int) -> None:
    gate = SqueezeExcite(ratio=0.25, divisor=divisor).build(Feature(channels, (2, 2)))
    assert gate.reduce.out_features == hidden
