"""The ConvNeXt block: a mixer of positions and a perceptron of channels under one shortcut."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, Norm, image, kept, scaled
from archfront.space.library.gate.global_response import GlobalResponse
from archfront.space.library.layers import DropPath, LayerScale, make_activation, make_norm
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.spec import Block, Factor, Gate, Mixer, Paper, Probability
from archfront.space.types import Feature


class ConvNeXtBlock(nn.Module):
    """Mixer of positions, normalisation, 1x1 expansion, activation, gate, 1x1 projection, around them a shortcut."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        mixer: nn.Module,
        norm: str = "layer",
        activation: str = "gelu",
        gate: nn.Module | None = None,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = make_norm(norm, channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = make_activation(activation)
        self.gate = nn.Identity() if gate is None else gate
        self.project = nn.Conv2d(hidden, channels, 1)
        self.scale = LayerScale(channels, layer_scale) if layer_scale else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.gate(self.act(self.expand(self.norm(self.mixer(x)))))
        y: Tensor = x + self.drop_path(self.scale(self.project(hidden)))
        return y


class ConvNeXt(Block):
    """x + s W2 gate(act(W1 norm(mixer(x)) + b1)) + b2, W1: C -> `expand` C (rounded), W2 back to C.

    With its defaults it is the block of ConvNeXt V2; `gate=None, layer_scale=1e-6` is that of the first ConvNeXt.

    Args:
        mixer: mixes positions; `LargeKernel(kernel=7)`, a depthwise convolution, in the paper.
        expand: hidden width over width.
        norm: between the mixer and W1.
        activation: act.
        gate: acts on the hidden width, behind the activation; global response normalisation in the paper.
        layer_scale: s is a learnt factor a channel that starts at this value; None leaves it out.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Woo et al., 2023, ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders; without the gate
    Liu et al., 2022, A ConvNet for the 2020s.
    """

    paper: ClassVar[Paper] = GlobalResponse.paper

    mixer: Mixer = LargeKernel(kernel=7)
    expand: Factor = 4.0
    norm: Norm = "layer"
    activation: Activation = "gelu"
    gate: Gate | None = GlobalResponse()
    layer_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        if self.gate is not None:
            kept("gate", self.gate, image(self, x).at(scaled(x.channels, self.expand)))
        return kept("mixer", self.mixer, image(self, x))

    def build(self, x: Feature) -> nn.Module:
        hidden = self.output(x).at(scaled(x.channels, self.expand))
        return ConvNeXtBlock(
            x.channels,
            hidden.channels,
            self.mixer.build(x),
            self.norm,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.layer_scale,
            self.drop_path,
        )
