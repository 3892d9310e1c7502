"""Inverted residual whose convolutions are mixed from experts for each image."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.layers import DropPath, make_activation
from archfront.space.library.operator.condconv import CondConv, MixedConv2d, Routing
from archfront.space.spec import Paper, Positive
from archfront.space.types import Feature


class CondInvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, gate, linear 1x1 projection, each mixed from experts.

    One routing from the block's input serves all three convolutions, or each routes by its own input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        experts: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "relu6",
        gate: nn.Module | None = None,
        routing: str = "sigmoid",
        shared: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.routing = Routing(in_channels, experts, routing)
        self.depthwise_routing = None if shared else Routing(hidden, experts, routing)
        self.project_routing = None if shared else Routing(hidden, experts, routing)
        self.expand = MixedConv2d(in_channels, hidden, 1, experts)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.act1 = make_activation(activation)
        self.depthwise = MixedConv2d(hidden, hidden, kernel, experts, stride, hidden)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.act2 = make_activation(activation)
        self.gate = nn.Identity() if gate is None else gate
        self.project = MixedConv2d(hidden, out_channels, 1, experts)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.routing(x)
        y: Tensor = self.act1(self.norm1(self.expand(x, weights)))
        if self.depthwise_routing is not None:
            weights = self.depthwise_routing(y)
        y = self.gate(self.act2(self.norm2(self.depthwise(y, weights))))
        if self.project_routing is not None:
            weights = self.project_routing(y)
        y = self.norm3(self.project(y, weights))
        return x + self.drop_path(y) if self.shortcut else y


class CondMBConv(MBConv):
    """[x +] P gate(act(D act(E x))) as in `MBConv`, where E, D and P are conditional convolutions; the gate is not.

    E is there whatever `expand` is.

    Args:
        experts: number of kernels that each convolution mixes.
        routing: "sigmoid" weighs every expert on its own, "softmax" makes the weights add up to 1.
        scope: "block" computes one set of weights from x for all three, "layer" one for each from its own input.

    Yang et al., 2019, CondConv: Conditionally Parameterized Convolutions for Efficient Inference.
    """

    paper: ClassVar[Paper] = CondConv.paper

    experts: Positive = 4
    routing: Literal["sigmoid", "softmax"] = "sigmoid"
    scope: Literal["block", "layer"] = "block"

    def build(self, x: Feature) -> nn.Module:
        hidden = self._hidden(x)
        return CondInvertedResidual(
            x.channels,
            self.output(x).channels,
            hidden.channels,
            self.experts,
            self.kernel,
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.routing,
            self.scope == "block",
            self.drop_path,
        )
