"""OSNet: streams of growing receptive field behind one gate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.omni_scale import OmniScale
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.types import Feature

GATE = SqueezeExcite(ratio=0.5)


def test_stream_t_sees_the_square_of_side_2t_plus_1() -> None:
    block = OmniScale(gate=None).build(Feature(16, (15, 15))).eval()
    for parameter in block.streams.parameters():
        nn.init.ones_(parameter)
    for length, stream in enumerate(block.streams, 1):
        x = torch.rand(1, 4, 15, 15, requires_grad=True)
        (seen,) = torch.autograd.grad(stream(x)[0, 0, 7, 7], x)
        rows, columns = seen.abs().sum((0, 1)).nonzero().T
        assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == 2 * length + 1
        assert len(rows) == (2 * length + 1) ** 2


def test_the_block_adds_up_the_gated_streams() -> None:
    x = Feature(16, (6, 5))
    block = OmniScale(gate=GATE).build(x).eval()
    (image,) = x.example(2)
    reduced = block.reduce(image)
    (gate,) = block.gates
    fused = gate(block.streams[0](reduced))
    for stream in block.streams[1:]:
        fused = fused + gate(stream(reduced))
    expected = torch.relu(image + block.norm(nn.functional.conv2d(fused, block.expand.weight)))
    torch.testing.assert_close(block(image), expected)


def test_a_shared_gate_is_one_module_and_separate_gates_cost_as_many_again() -> None:
    x = Feature(32, (4, 4))
    count = lambda spec: sum(p.numel() for p in spec.build(x).parameters())  # noqa: E731
    one = sum(p.numel() for p in GATE.build(x.at(8)).parameters())
    assert count(OmniScale(gate=GATE, gate_shared=False)) - count(OmniScale(gate=GATE)) == 3 * one
    assert count(OmniScale(gate=GATE)) - count(OmniScale(gate=None)) == one


def test_the_lite_convolution_is_pointwise_first_and_linear() -> None:
    x = Feature(3, (6, 6))
    module = FactoredConv(order="pointwise-spatial", width=5).build(x).double()
    (image,) = x.example(2, dtype=torch.float64)
    pointwise = torch.einsum("oc,nchw->nohw", module.pointwise.weight.flatten(1), image)
    expected = nn.functional.conv2d(pointwise, module.spatial.weight, padding=1, groups=5)
    torch.testing.assert_close(module(image), expected)


@pytest.mark.parametrize(("width", "reduction"), [(64, 16), (16, 16), (8, 16)])
def test_the_gate_never_shrinks_to_nothing(width: int, reduction: int) -> None:
    block = OmniScale(gate=SqueezeExcite(ratio=1 / reduction)).build(Feature(width, (4, 4)))
    assert block.gates[0].reduce.out_features >= 1


def test_instance_norm_stands_inside_or_behind_the_residual_branch() -> None:
    x = Feature(16, (6, 6))
    norms = {
        kind: [name for name, m in OmniScale(instance_norm=kind).build(x).named_modules()  # type: ignore[arg-type]
               if isinstance(m, nn.InstanceNorm2d)]
        for kind in ("none", "ibn", "ain")
    }  # fmt: skip
    assert norms == {"none": [], "ibn": ["out_norm"], "ain": ["norm"]}
    with pytest.raises(ShapeError, match="single position"):
        OmniScale(instance_norm="ibn").output(Feature(16, (1, 1)))
