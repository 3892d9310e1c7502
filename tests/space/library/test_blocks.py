"""Blocks against the same computation written out in plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError, SpecError
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.fused_mbconv import FusedMBConv
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.wide_basic import WideBasic
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.spec import StridedBlock
from archfront.space.types import Feature

X = Feature(16, (9, 7))
STRIDED = [BasicBlock(), Bottleneck(), MBConv(), FusedMBConv(), WideBasic()]


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


def prepared(spec: StridedBlock | MetaFormer, x: Feature = X) -> tuple[nn.Module, Tensor]:
    """The module in double precision with statistics and parameters that are no special case, and an input for it."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            for tensor in (child.running_mean, child.running_var, child.weight, child.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module, x.example(2, dtype=torch.float64)[0]


def with_weights_of(source: nn.Module, *layers: nn.Module) -> nn.Sequential:
    """`layers` in sequence with the parameters and buffers of `source`, in order."""
    plain = nn.Sequential(*layers).double().eval()
    values = source.state_dict().values()
    plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
    return plain


@pytest.mark.parametrize(("width", "stride"), [(16, 1), (24, 1), (24, 2), (16, 2)])
def test_mbconv_is_expansion_depthwise_convolution_and_linear_projection(width: int, stride: int) -> None:
    module, x = prepared(MBConv(kernel=5, expand=3, width=width, stride=stride))
    plain = with_weights_of(
        module,
        *(conv(16, 48, 1), nn.BatchNorm2d(48), nn.ReLU6()),
        *(conv(48, 48, 5, stride, groups=48), nn.BatchNorm2d(48), nn.ReLU6()),
        *(conv(48, width, 1), nn.BatchNorm2d(width)),
    )
    shortcut = x if (width, stride) == (16, 1) else 0
    torch.testing.assert_close(module(x), plain(x) + shortcut)


def test_mbconv_without_expansion_leaves_the_expanding_convolution_out() -> None:
    module, x = prepared(MBConv(expand=1, activation="silu"))
    plain = with_weights_of(
        module,
        *(conv(16, 16, 3, groups=16), nn.BatchNorm2d(16), nn.SiLU()),
        *(conv(16, 16, 1), nn.BatchNorm2d(16)),
    )
    torch.testing.assert_close(module(x), plain(x) + x)


def test_the_gate_of_mbconv_stands_between_depthwise_convolution_and_projection() -> None:
    module, x = prepared(MBConv(expand=2, gate=SqueezeExcite()))
    hidden = module.depthwise(module.expand(x))
    assert hidden.shape[1] == 32
    torch.testing.assert_close(module(x), x + module.project(module.gate(hidden)))


@pytest.mark.parametrize(("expand", "width", "stride"), [(4, 16, 1), (4, 24, 2), (1, 16, 1), (1, 24, 2)])
def test_fused_mbconv_is_a_convolution_and_a_projection_and_with_expansion_1_only_the_convolution(
    expand: int, width: int, stride: int
) -> None:
    module, x = prepared(FusedMBConv(expand=expand, width=width, stride=stride))
    hidden = 64 if expand == 4 else width
    layers = [conv(16, hidden, 3, stride), nn.BatchNorm2d(hidden), nn.SiLU()]
    if expand == 4:
        layers += [conv(64, width, 1), nn.BatchNorm2d(width)]
    plain = with_weights_of(module, *layers)
    torch.testing.assert_close(module(x), plain(x) + (x if (width, stride) == (16, 1) else 0))


@pytest.mark.parametrize("shortcut", ["projection", "average"])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (24, 1), (24, 2)])
def test_basic_block_adds_two_convolutions_to_the_shortcut(width: int, stride: int, shortcut: str) -> None:
    module, x = prepared(BasicBlock(width=width, stride=stride, shortcut=shortcut))
    first = with_weights_of(
        nn.ModuleList((module.conv1, module.norm1)), conv(16, width, 3, stride), nn.BatchNorm2d(width)
    )
    second = with_weights_of(nn.ModuleList((module.conv2, module.norm2)), conv(width, width, 3), nn.BatchNorm2d(width))
    around = x
    if (width, stride) != (16, 1):
        pooled = x
        if shortcut == "average" and stride == 2:
            tiles = [[x[:, :, r : r + 2, c : c + 2].mean((2, 3)) for c in range(0, 7, 2)] for r in range(0, 9, 2)]
            pooled = torch.stack([torch.stack(row, -1) for row in tiles], -2)
            stride = 1
        around = with_weights_of(module.shortcut, conv(16, width, 1, stride), nn.BatchNorm2d(width))(pooled)
    torch.testing.assert_close(module(x), torch.relu(around + second(torch.relu(first(x)))))


@pytest.mark.parametrize(("width", "stride"), [(16, 1), (32, 2)])
def test_bottleneck_narrows_strides_and_widens(width: int, stride: int) -> None:
    module, x = prepared(Bottleneck(ratio=0.5, operator=Conv(groups=4), width=width, stride=stride))
    hidden = width // 2
    branch = with_weights_of(
        nn.ModuleList((module.reduce, module.conv, module.norm, module.expand)),
        *(conv(16, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU()),
        *(conv(hidden, hidden, 3, stride, groups=4), nn.BatchNorm2d(hidden), nn.ReLU()),
        *(conv(hidden, width, 1), nn.BatchNorm2d(width)),
    )
    around = x if width == 16 else with_weights_of(module.shortcut, conv(16, 32, 1, 2), nn.BatchNorm2d(32))(x)
    torch.testing.assert_close(module(x), torch.relu(around + branch(x)))


@pytest.mark.parametrize("kernels", [(3, 3), (3, 1, 3), (1, 3, 1), (3,)])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (24, 2)])
def test_wide_basic_normalises_before_each_convolution_and_projects_what_is_activated(
    kernels: tuple[int, ...], width: int, stride: int
) -> None:
    module, x = prepared(WideBasic(kernels=kernels, width=width, stride=stride))
    y = active = torch.relu(module.norm(x))
    y = nn.functional.conv2d(y, module.conv.weight, stride=stride, padding=kernels[0] // 2)
    for unit, kernel in zip(module.others, kernels[1:], strict=True):
        y = nn.functional.conv2d(torch.relu(unit.norm(y)), unit.conv.weight, padding=kernel // 2)
    around = x if width == 16 else nn.functional.conv2d(active, module.project.weight, stride=stride)
    torch.testing.assert_close(module(x), around + y)


def test_wide_basic_drops_out_between_convolutions_and_only_in_training() -> None:
    module, x = prepared(WideBasic(kernels=(3, 1, 3), dropout=0.5))
    assert sum(isinstance(child, nn.Dropout) for child in module.modules()) == 2
    torch.testing.assert_close(module(x), module(x))
    module.train()
    assert not torch.equal(module(x), module(x))
    single, x = prepared(WideBasic(kernels=(3,), dropout=0.5))
    single.train()
    torch.testing.assert_close(single(x), single(x))


def test_wide_basic_needs_a_convolution() -> None:
    with pytest.raises(SpecError, match="at least one positive odd integer"):
        WideBasic(kernels=())


@pytest.mark.parametrize("block", STRIDED)
def test_a_gate_that_saturates_changes_no_strided_block(block: StridedBlock) -> None:
    gated = type(block)(width=24, stride=2, gate=SqueezeExcite())
    module, x = prepared(gated)
    nn.init.zeros_(module.gate.expand.weight)
    nn.init.constant_(module.gate.expand.bias, 50.0)
    plain = block.at(24, 2).build(X).double().eval()
    plain.load_state_dict({name: value for name, value in module.state_dict().items() if not name.startswith("gate.")})
    torch.testing.assert_close(module(x), plain(x))


def test_bottleneck_and_basic_block_take_other_operators() -> None:
    for spec in (Bottleneck(operator=FactoredConv(kernel=5)), BasicBlock(operator=FactoredConv(kernel=5))):
        strided = spec.at(32, 2)
        assert strided.output(X) == Feature(32, (5, 4))
        assert strided.build(X)(*X.example(2)).shape == (2, 32, 5, 4)


def test_an_operator_that_does_not_fit_is_named_with_its_place() -> None:
    with pytest.raises(ShapeError, match=r"^operator: 3 groups must divide the widths 4 and 4$"):
        Bottleneck(operator=Conv(groups=3)).output(X)


@pytest.mark.parametrize(("layer_scale", "norm"), [(None, "layer"), (0.1, "group1"), (0.1, "batch")])
def test_metaformer_is_two_normalised_residual_branches(layer_scale: float | None, norm: str) -> None:
    spec = MetaFormer(mixer=AveragePool(), channel_mixer=FeedForward(expand=2), norm=norm, layer_scale=layer_scale)
    module, x = prepared(spec)
    scale = layer_scale or 1.0
    y = x + scale * module.mixer(module.norm1(x))
    torch.testing.assert_close(module(x), y + scale * module.channel_mixer(module.norm2(y)))


def test_metaformer_names_the_part_that_refuses_the_input() -> None:
    with pytest.raises(ShapeError, match=r"^mixer: head_dim 5 does not divide 16 channels"):
        MetaFormer(mixer=SelfAttention(head_dim=5)).output(X)


@pytest.mark.parametrize("block", [*STRIDED, MetaFormer(mixer=AveragePool())])
def test_drop_path_leaves_whole_samples_without_their_branch(block: StridedBlock) -> None:
    torch.manual_seed(0)
    fields = {"mixer": AveragePool()} if isinstance(block, MetaFormer) else {}
    module = type(block)(drop_path=0.999999, **fields).build(X).train()
    (x,) = X.example(4)
    bare = torch.relu(x) if isinstance(block, (BasicBlock, Bottleneck)) else x
    torch.testing.assert_close(module(x), bare)
