"""Ghost modules and bottlenecks against their definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.ghost_bottleneck import GhostBottleneck
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.ghost import GhostConv
from archfront.space.types import Feature

X = Feature(16, (9, 7))


def prepared(spec: GhostConv | GhostBottleneck, x: Feature = X) -> tuple[nn.Module, Tensor]:
    """The module in double precision with statistics and parameters that are no special case, and an input for it."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            for tensor in (child.running_mean, child.running_var, child.weight, child.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module, x.example(2, dtype=torch.float64)[0]


def normalised(x: Tensor, norm: nn.Module) -> Tensor:
    """Batch norm with running statistics, written out."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize(
    ("ratio", "width", "kernel", "stride"), [(2, 24, 1, 1), (2, 25, 3, 2), (3, 20, 1, 1), (4, 9, 3, 1)]
)
def test_ghosts_are_cheap_functions_of_single_intrinsic_channels(
    ratio: int, width: int, kernel: int, stride: int
) -> None:
    module, x = prepared(GhostConv(width=width, stride=stride, kernel=kernel, ratio=ratio, cheap_kernel=5))
    m = -(-width // ratio)
    conv = F.conv2d(x, module.primary.conv.weight, stride=stride, padding=kernel // 2)
    intrinsic = normalised(conv, module.primary.norm).relu()
    assert intrinsic.shape[1] == m
    ghosts = []
    for g in range(m * (ratio - 1)):
        source = intrinsic[:, g // (ratio - 1)][:, None]
        ghosts.append(F.conv2d(source, module.cheap.conv.weight[g][None], padding=2))
    cheap = normalised(torch.cat(ghosts, 1), module.cheap.norm).relu()
    families = ([intrinsic[:, i], *cheap[:, i * (ratio - 1) : (i + 1) * (ratio - 1)].unbind(1)] for i in range(m))
    expected = torch.stack([channel for family in families for channel in family], 1)[:, :width]
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(("ratio", "narrow", "wide"), [(2, 9, 24), (3, 8, 14), (4, 16, 32)])
def test_a_narrow_module_computes_the_first_channels_of_a_wide_one_that_it_shares_weights_with(
    ratio: int, narrow: int, wide: int
) -> None:
    whole, x = prepared(GhostConv(width=wide, ratio=ratio))
    part, _ = prepared(GhostConv(width=narrow, ratio=ratio))
    stored = whole.state_dict()
    part.load_state_dict({name: stored[name][tuple(map(slice, t.shape))] for name, t in part.state_dict().items()})
    torch.testing.assert_close(part(x), whole(x)[:, :narrow])


def test_a_ghost_module_of_ratio_1_is_a_convolution_with_norm_and_activation() -> None:
    module, x = prepared(GhostConv(width=24, kernel=3, ratio=1))
    assert module.cheap is None
    plain = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU()).double().eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), module.state_dict().values(), strict=True)))
    torch.testing.assert_close(module(x), plain(x))


def test_intrinsic_channels_do_not_depend_on_the_cheap_weights_and_ghosts_do() -> None:
    module, x = prepared(GhostConv(width=24))
    before = module(x)
    nn.init.uniform_(module.cheap.conv.weight)
    after = module(x)
    assert torch.equal(before[:, ::2], after[:, ::2])
    assert not torch.isclose(before[:, 1::2], after[:, 1::2]).flatten(2).all(-1).any()


def test_gradients_flow_to_the_weights_of_both_parts() -> None:
    module, x = prepared(GhostConv(width=24, activation="none"))
    module(x).square().sum().backward()
    assert all(part.conv.weight.grad.abs().min() > 0 for part in (module.primary, module.cheap))


@pytest.mark.parametrize("ratio", [2, 4])
def test_a_3x3_ghost_module_costs_about_its_ratio_less_than_the_convolution(ratio: int) -> None:
    x = Feature(128, (8, 8))
    dense = part_cost(Conv(), x).contractions
    assert part_cost(GhostConv(kernel=3, ratio=ratio), x).contractions == pytest.approx(dense / ratio, rel=0.04)


def test_a_ghost_bottleneck_follows_its_sub_layers() -> None:
    gate = SqueezeExcite(ratio=0.25, gate="hardsigmoid", divisor=4)
    module, x = prepared(GhostBottleneck(width=24, stride=2, kernel=5, gate=gate))
    hidden = module.expand(x)
    reduced = normalised(
        F.conv2d(hidden, module.reduce.conv.weight, stride=2, padding=2, groups=48), module.reduce.norm
    )
    branch = module.project(module.gate(reduced))
    assert branch.min() < 0  # linear at the end
    around = module.shortcut
    skip = normalised(F.conv2d(x, around.depthwise.conv.weight, stride=2, padding=2, groups=16), around.depthwise.norm)
    skip = normalised(F.conv2d(skip, around.project.conv.weight), around.project.norm)
    torch.testing.assert_close(module(x), branch + skip)


def test_a_ghost_bottleneck_that_keeps_the_type_adds_its_input() -> None:
    module, x = prepared(GhostBottleneck(expand=2))
    assert isinstance(module.reduce, nn.Identity)
    torch.testing.assert_close(module(x), x + module.project(module.expand(x)))


def test_the_gate_of_ghostnet_rounds_its_width_like_the_authors() -> None:
    gate = SqueezeExcite(ratio=0.25, gate="hardsigmoid", divisor=4)
    published = {72: 20, 120: 32, 480: 120, 672: 168, 960: 240, 36: 12, 60: 16}
    for channels, hidden in published.items():
        assert gate.build(Feature(channels, (2, 2))).reduce.out_features == hidden


def test_ghost_modules_stand_in_for_the_convolutions_of_other_blocks() -> None:
    block = Bottleneck(width=32, operator=GhostConv(kernel=3))
    module, x = prepared(block)
    assert module(x).shape == (2, 32, 9, 7)
