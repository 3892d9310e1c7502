"""The large-kernel block of UniRepLKNet, in its form for training and merged for deployment."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.library.common import image, kept, scaled
from archfront.space.library.gate.global_response import GlobalResponseNormalization
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.layers import DropPath, LayerScale
from archfront.space.library.mixer.dilated_reparam import DilatedReparam, DilatedReparamConv, depthwise, folded
from archfront.space.spec import Block, Factor, Gate, Paper, Probability
from archfront.space.types import Feature


class UniRepLKBlock(nn.Module):
    """Depthwise convolution, gate, 1x1 expansion, GELU, response normalisation, 1x1 projection; a shortcut around them.

    In the form for training batch norm follows the depthwise convolution (where `reparam` says so a sum of them) and
    the projection; `merged` has one convolution with bias in each of the two places.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: int = 13,
        gate: nn.Module | None = None,
        response: bool = True,
        reparam: bool = True,
        merged: bool = False,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        branches = reparam and not merged
        self.mixer = DilatedReparamConv(channels, kernel) if branches else depthwise(channels, kernel, bias=merged)
        self.norm1 = nn.Identity() if merged else nn.BatchNorm2d(channels)
        self.gate = nn.Identity() if gate is None else gate
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = nn.GELU()
        self.response = GlobalResponseNormalization(hidden, shift=not merged) if response else nn.Identity()
        self.project = nn.Conv2d(hidden, channels, 1, bias=merged)
        self.norm2 = nn.Identity() if merged else nn.BatchNorm2d(channels)
        self.scale = LayerScale(channels, layer_scale) if layer_scale and not merged else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.response(self.act(self.expand(self.gate(self.norm1(self.mixer(x))))))
        y: Tensor = x + self.drop_path(self.scale(self.norm2(self.project(hidden))))
        return y

    @torch.no_grad()
    def merge_into(self, other: UniRepLKBlock) -> None:
        """Set the weights of `other`, the same block built `merged`, so that it computes what this one does.

        Equal in evaluation mode only: training uses the statistics of the batch.
        """
        large = self.mixer.merged() if isinstance(self.mixer, DilatedReparamConv) else self.mixer
        set_convolution(other.mixer, *folded(large, self.norm1))
        other.gate.load_state_dict(self.gate.state_dict())
        other.expand.load_state_dict(self.expand.state_dict())
        weight, bias = folded(self.project, self.norm2)
        if isinstance(self.response, GlobalResponseNormalization):
            other.response.load_state_dict({"scale": self.response.scale})
            assert self.response.shift is not None
            bias = bias + weight.flatten(1) @ self.response.shift
        if isinstance(self.scale, LayerScale):
            weight, bias = weight * self.scale.scale[:, None, None, None], bias * self.scale.scale
        set_convolution(other.project, weight, bias)


def set_convolution(conv: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Copy weight and bias into a convolution."""
    conv.load_state_dict({"weight": weight, "bias": bias})


class UniRepLK(Block):
    """x + s BN(W2 grn(gelu(W1 gate(BN(K x)) + b1))), W1: C -> `expand` C (rounded), W2 back to C.

    K is a depthwise convolution; for `kernel` of at least 7 it is trained as a sum of that kernel and small dilated
    ones (`DilatedReparam`). `merged=True` builds the form for deployment, on which published figures are: every
    batch normalisation, the shift of the response and s are folded into convolutions with bias
    (`UniRepLKBlock.merge_into` does it with trained weights).

    Args:
        kernel: extent of the depthwise kernel.
        expand: hidden width over width.
        gate: behind the first normalisation; squeeze-and-excitation with a quarter of the width in the paper.
        response: whether global response normalisation (grn) follows the activation.
        reparam: whether small dilated kernels stand beside a large one in training.
        merged: build the form for deployment.
        layer_scale: s is a learnt factor a channel that starts at this value; None leaves it out.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Zhang, Ding and Yue, 2024, Scaling Up Your Kernels: Large Kernel Design in ConvNets towards Universal
    Representations.
    """

    paper: ClassVar[Paper] = DilatedReparam.paper

    kernel: Literal[3, 5, 7, 9, 11, 13, 15, 17] = 13
    expand: Factor = 4.0
    gate: Gate | None = SqueezeExcite(ratio=0.25)
    response: bool = True
    reparam: bool = True
    merged: bool = False
    layer_scale: Factor | None = 1e-6
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x) if self.gate is None else kept("gate", self.gate, image(self, x))

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return UniRepLKBlock(
            x.channels,
            scaled(x.channels, self.expand),
            self.kernel,
            None if self.gate is None else self.gate.build(x),
            self.response,
            self.reparam and self.kernel >= 7,
            self.merged,
            self.layer_scale,
            self.drop_path,
        )
