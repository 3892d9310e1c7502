"""Parallel streams, their exchange, and the head that joins them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import cost, count
from archfront.hw_profiles.profile import local_profile
from archfront.hw_profiles.runtimes import RUNTIMES
from archfront.space.architecture import Architecture
from archfront.space.domains import int_range, one_of
from archfront.space.errors import ShapeError
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.cascade_classifier import CascadeClassifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.high_resolution import HighResolution
from archfront.space.library.topology.stream_fusion import StreamFusion
from archfront.space.library.topology.stream_module import StreamExchange, StreamModule
from archfront.space.library.topology.stream_transition import StreamTransition
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import Feature, Image, Pyramid

THREE = Pyramid((Feature(4, (16, 12)), Feature(8, (8, 6)), Feature(6, (4, 3))))
ODD = Pyramid((Feature(4, (13, 9)), Feature(8, (7, 5)), Feature(6, (4, 3))))


def settled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_mean, -1, 1)
    return module.double().eval()


def conv(unit: nn.Module, x: Tensor, stride: int = 1) -> Tensor:
    weight = unit.conv.weight
    return unit.norm(F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2))


def test_the_exchange_is_the_sum_that_the_paper_writes() -> None:
    module = settled(StreamExchange((4, 8, 6)))
    a, b, c = (torch.randn(2, *shape, dtype=torch.float64) for shape in THREE.shapes)
    f = module.paths
    double, quadruple = nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=4)
    expected = (
        F.relu(a + double(conv(f[0][1], b)) + quadruple(conv(f[0][2], c))),
        F.relu(conv(f[1][0][0], a, 2) + b + double(conv(f[1][2], c))),
        F.relu(conv(f[2][0][1], F.relu(conv(f[2][0][0], a, 2)), 2) + conv(f[2][1][0], b, 2) + c),
    )
    for found, wanted in zip(module((a, b, c)), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert [p.conv.out_channels for p in f[2][0]] == [4, 6]  # the last convolution changes the width


@pytest.mark.parametrize("x", [THREE, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_every_stream_that_leaves_a_module_depends_on_every_stream_that_enters(x: Pyramid, upsample: str) -> None:
    module = settled(StreamModule(upsample=upsample).build(x))  # type: ignore[arg-type]
    (streams,) = x.arguments(2, dtype=torch.float64, requires_grad=True)
    for target in module(streams):
        gradients = torch.autograd.grad((target * torch.randn_like(target)).sum(), streams, retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert StreamModule().output(x) == x


def test_one_stream_is_a_plain_residual_network() -> None:
    one = Pyramid((Feature(4, (6, 5)),))
    module = settled(StreamModule(depth=3).build(one))
    plain = settled(nn.Sequential(*(BasicBlock().at(4, 1).build(one.levels[0]) for _ in range(3))))
    plain.load_state_dict(module.streams[0].state_dict())
    (streams,) = one.arguments(2, dtype=torch.float64)
    (found,) = module(streams)
    torch.testing.assert_close(found, plain(streams[0]))


def test_a_transition_convolves_what_changes_width_and_halves_what_is_new() -> None:
    two = Pyramid(THREE.levels[:2])
    module = settled(StreamTransition(widths=(4, 10, 6, 12)).build(two))
    ((a, b),) = two.arguments(2, dtype=torch.float64)
    found = module((a, b))
    assert found[0] is a
    torch.testing.assert_close(found[1], F.relu(conv(module.paths[1], b)))
    torch.testing.assert_close(found[2], F.relu(conv(module.paths[2][0], b, 2)))
    steps = module.paths[3]
    torch.testing.assert_close(found[3], F.relu(conv(steps[1], F.relu(conv(steps[0], b, 2)), 2)))
    assert [step.conv.out_channels for step in steps] == [8, 12]
    assert StreamTransition(widths=(4, 10, 6, 12)).output(two).shapes == tuple(tuple(y.shape[1:]) for y in found)


def test_the_head_cascades_from_the_finest_level_to_the_coarsest() -> None:
    head = CascadeClassifier(classes=5, widths=(8, 16, 32), features=24)
    module = settled(head.build(ODD))
    (levels,) = ODD.arguments(2, dtype=torch.float64)
    a, b, c = (widen(level) for widen, level in zip(module.widen, levels, strict=True))
    y = c + module.reduce[1](b + module.reduce[0](a))
    torch.testing.assert_close(module(levels), module.linear(module.conv(y).mean((2, 3))))
    assert [widen.expand.conv.out_channels for widen in module.widen] == [8, 16, 32]


def small(topology: HighResolution, block: object = None) -> Network:
    return Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=16, block=Bottleneck()), topology),
        head=CascadeClassifier(classes=5, widths=None, features=32),
    )


def test_the_streams_keep_the_finest_resolution_and_double_their_widths() -> None:
    y = HighResolution(width=6, modules=(1, 4, 3)).output(Feature(16, (20, 12)))
    assert y.shapes == ((6, 20, 12), (12, 10, 6), (24, 5, 3), (48, 3, 2))


def test_every_module_is_a_part_and_the_parts_cost_what_the_network_costs() -> None:
    architecture = Architecture(Image(3, 24, 20), small(HighResolution(width=4, modules=(1, 2))))
    paths = [part.path for part in architecture.parts if part.path.startswith("stages[1]")]
    assert paths == [
        "stages[1].stage2.transition",
        "stages[1].stage2.modules[0]",
        "stages[1].stage3.transition",
        "stages[1].stage3.modules[0]",
        "stages[1].stage3.modules[1]",
    ]
    total, whole = cost(architecture), count(architecture.build(), architecture.input)
    assert (total.macs, total.params, total.activations) == (whole.macs, whole.params, whole.activations)


def test_number_of_streams_modules_blocks_and_block_are_choices_of_a_space() -> None:
    topology = HighResolution(
        width=one_of(4, 8),
        modules=one_of((1,), (1, 2), (1, 1, 1)),
        blocks=int_range(1, 2),
        block=one_of(BasicBlock(), Bottleneck(ratio=one_of(0.25, 0.5)), MBConv()),
        upsample=one_of("nearest", "bilinear"),
    )
    space = Space(Image(3, 32, 32), small(topology))
    assert space.size == 2 * 3 * 2 * (1 + 2 + 1) * 2
    for seed in range(4):
        architecture = space.sample(seed)
        assert architecture in space
        assert Architecture.from_dict(architecture.to_dict()) == architecture
        assert architecture.build()(*architecture.input.example(2)).shape == (2, 5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_parts_that_take_or_yield_several_resolutions_are_measured_like_others(runtime: str, tmp_path: object) -> None:
    profile = local_profile(runtime)  # type: ignore[arg-type]
    for spec in (StreamModule(depth=1), CascadeClassifier(classes=5, widths=(8, 16, 32), features=8)):
        prepared = RUNTIMES[runtime].prepare("part", (spec, THREE), profile, tmp_path)  # type: ignore[arg-type]
        assert prepared.difference < 1e-4


def test_levels_that_do_not_halve_are_refused() -> None:
    with pytest.raises(ShapeError, match="behind 4x16x12 8x8x6, got 8x7x6"):
        StreamModule().output(Pyramid((Feature(4, (16, 12)), Feature(8, (7, 6)))))
    with pytest.raises(ShapeError, match="takes several resolutions"):
        Architecture(Image(3, 8, 8), Network(stem=ConvStem(width=4), stages=(), head=CascadeClassifier(classes=2)))
    with pytest.raises(ShapeError, match="1 widths for 3 levels"):
        StreamTransition(widths=(4,)).output(THREE)


@pytest.mark.parametrize("pyramid", [False, True])
def test_streams_are_enlarged_joined_and_projected_and_averaged_over_tiles(pyramid: bool) -> None:
    spec = StreamFusion(pyramid=pyramid, width=5 if pyramid else None)
    module = settled(spec.build(ODD))
    streams = tuple(torch.randn(2, level.channels, *level.size, dtype=torch.float64) for level in ODD.levels)
    first, *others = streams
    joined = torch.cat((first, *(F.interpolate(x, size=(13, 9), mode="bilinear") for x in others)), 1)
    y = module.project(joined)
    found = module(streams)
    assert spec.output(ODD).shapes == tuple(tuple(level.shape[1:]) for level in found)
    torch.testing.assert_close(found[0], y)
    for extent, level in zip((1, 2, 4)[: len(found)], found, strict=True):
        torch.testing.assert_close(level[:, :, 1, 1], y[:, :, extent : 2 * extent, extent : 2 * extent].mean((2, 3)))
        torch.testing.assert_close(
            level[:, :, -1, -1], y[:, :, 12 // extent * extent :, 8 // extent * extent :].mean((2, 3))
        )
