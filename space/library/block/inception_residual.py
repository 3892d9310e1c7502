"""Inception blocks with a scaled residual connection."""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import Tensor, nn

from archfront.space.library.block.inception import Branches, Inception
from archfront.space.library.common import Activation, image
from archfront.space.library.layers import DropPath, Shortcut, make_activation
from archfront.space.library.layers_branch import branches_width, make_branches
from archfront.space.spec import Paper, Probability, Rule, StridedBlock
from archfront.space.types import Feature


class InceptionResidualBlock(nn.Module):
    """Branches side by side, a linear 1x1 convolution, a constant factor, and a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        branches: nn.Module,
        branches_width: int,
        stride: int = 1,
        scale: float = 1.0,
        activation: str = "relu",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.branches = branches
        self.project = nn.Conv2d(branches_width, out_channels, 1)
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride)
        self.act = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.drop_path(self.project(self.branches(x)))
        y: Tensor = self.act(self.shortcut(x) + self.scale * branch)
        return y


class InceptionResidual(StridedBlock):
    """ReLU(S x + scale (W concat(branch_1(x), ..., branch_n(x)) + b)), W a 1x1 convolution without norm.

    Branches are written as in `Inception`; the last layer of each carries the stride. S is the identity or a 1x1
    convolution with BN where the type changes. A small constant factor keeps wide networks stable.

    Args:
        branches: what stands side by side.
        scale: the factor; 0.17, 0.1 and 0.2 in the three stages of Inception-ResNet-v2.
        activation: act inside the branches.
        last_activation: whether the last ReLU is there; the very last block of the paper's network has none.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Szegedy et al., 2017, Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning.
    """

    paper: ClassVar[Paper] = Inception.paper

    branches: Branches = (
        ((16, 1, 1),),
        ((16, 1, 1), (16, 3, 3)),
        ((16, 1, 1), (24, 1, 3), (32, 3, 1)),
    )
    scale: Annotated[float, Rule("a number of at least 0", lambda v: v >= 0)] = 0.17
    activation: Activation = "relu"
    last_activation: bool = True
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return InceptionResidualBlock(
            x.channels,
            y.channels,
            make_branches(x.channels, self.branches, self.stride, activation=self.activation),
            branches_width(self.branches, x.channels),
            self.stride,
            self.scale,
            "relu" if self.last_activation else "none",
            self.drop_path,
        )
