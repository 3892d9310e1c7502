"""Res2Net's block against the same computation written out chunk by chunk."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.res2net import Hierarchy, Res2Net
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.types import Feature

X = Feature(64, (9, 7))


def built(spec: Res2Net, x: Feature = X) -> nn.Module:
    """The module in double precision with statistics that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module


def hierarchy(width: int, scale: int) -> Hierarchy:
    """A hierarchy of plain 3x3 convolutions, for stride 1 inside a stage, without activation."""
    convs = tuple(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(scale - 1))
    return Hierarchy(width, scale, convs, activation="none").double().eval()


@pytest.mark.parametrize(("scale", "base_width", "ratio"), [(4, 26, 1.0), (2, 48, 0.5), (3, 14, 2.0)])
def test_inside_a_stage_every_chunk_is_convolved_with_the_result_before_it_added(
    scale: int, base_width: int, ratio: float
) -> None:
    module = built(Res2Net(scale=scale, base_width=base_width, ratio=ratio))
    (x,) = X.example(2, dtype=torch.float64)
    width = int(64 * ratio) * base_width // 64
    hidden = torch.relu(module.reduce.norm(module.reduce.conv(x)))
    assert hidden.shape[1] == scale * width
    previous: Tensor | None = None
    results = []
    for i in range(scale - 1):
        chunk = hidden[:, i * width : (i + 1) * width]
        branch = module.hierarchy.branches[i]
        previous = torch.relu(branch.norm(branch.conv(chunk if previous is None else chunk + previous)))
        results.append(previous)
    results.append(hidden[:, (scale - 1) * width :])
    y = torch.relu(x + module.expand.norm(module.expand.conv(torch.cat(results, 1))))
    torch.testing.assert_close(module(x), y)


def test_at_the_entry_of_a_stage_nothing_is_added_and_the_last_chunk_is_averaged_with_zeros_outside() -> None:
    module = built(Res2Net(width=128, stride=2, ratio=0.5))
    (x,) = X.example(2, dtype=torch.float64)
    hidden = torch.relu(module.reduce.norm(module.reduce.conv(x)))
    chunks = hidden.chunk(4, 1)
    results = []
    for chunk, branch in zip(chunks[:3], module.hierarchy.branches, strict=True):
        results.append(torch.relu(branch.norm(F.conv2d(chunk, branch.conv.weight, stride=2, padding=1))))
    padded = F.pad(chunks[3], (1, 1, 1, 1))
    results.append(F.unfold(padded, 3, stride=2).reshape(2, -1, 9, 5, 4).sum(2) / 9)
    shortcut = module.shortcut.project.norm(module.shortcut.project.conv(x))
    y = torch.relu(shortcut + module.expand.norm(module.expand.conv(torch.cat(results, 1))))
    torch.testing.assert_close(module(x), y)


def test_a_change_of_width_alone_also_makes_an_entry() -> None:
    assert Res2Net(width=128).build(X).hierarchy.entry
    assert not Res2Net(width=64).build(X).hierarchy.entry


def test_with_one_chunk_it_is_a_plain_bottleneck_of_that_width() -> None:
    module = built(Res2Net(scale=1, base_width=64))
    plain = Bottleneck().build(X).double().eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), module.state_dict().values(), strict=True)))
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), plain(x))


def test_no_chunk_depends_on_a_later_one() -> None:
    module = hierarchy(width=2, scale=4)
    x = torch.randn(1, 8, 5, 5, dtype=torch.float64, requires_grad=True)
    for i in range(4):
        (gradient,) = torch.autograd.grad(module(x)[:, 2 * i : 2 * i + 2].square().sum(), x)
        touched = gradient.reshape(4, -1).abs().sum(1) > 0
        expected = [j <= i for j in range(4)] if i < 3 else [False, False, False, True]
        assert touched.tolist() == expected


@pytest.mark.parametrize("scale", [3, 4, 6])
def test_an_impulse_in_the_first_chunk_spreads_by_one_pixel_with_every_convolution(scale: int) -> None:
    module = hierarchy(width=1, scale=scale)
    for branch in module.branches:
        nn.init.ones_(branch.conv.weight)
    x = torch.zeros(1, scale, 17, 17, dtype=torch.float64)
    x[0, 0, 8, 8] = 1
    for i in range(scale - 1):
        rows = module(x)[0, i].sum(1).nonzero().flatten()
        assert int(rows[-1] - rows[0]) + 1 == 2 * (i + 1) + 1


@pytest.mark.parametrize(
    ("channels", "base_width", "groups", "width"), [(256, 26, 1, 26), (512, 14, 1, 28), (1024, 4, 8, 128)]
)
def test_the_width_of_a_chunk_is_rounded_down(channels: int, base_width: int, groups: int, width: int) -> None:
    spec = Res2Net(base_width=base_width, operator=Conv(groups=groups))
    assert spec.chunk(channels) == width
    assert Res2Net(base_width=25).chunk(128) == 12  # 12.5


def test_any_operator_may_convolve_the_chunks() -> None:
    module = Res2Net(operator=FactoredConv(kernel=5), ratio=1.0).build(X)
    assert [type(b.conv).__name__ for b in module.hierarchy.branches] == ["FactoredConv2d"] * 3
    assert module(X.example(2)[0]).shape == (2, 64, 9, 7)


def test_multiply_adds_follow_the_formula_of_the_paper() -> None:
    from archfront.hw_profiles.cost import part_cost

    spec, width, scale = Res2Net(base_width=26, ratio=1.0), 26, 4
    expected = 9 * 7 * (64 * width * scale + (scale - 1) * 9 * width * width + width * scale * 64)
    assert part_cost(spec, X).contractions == expected
