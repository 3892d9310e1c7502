"""Inception blocks: branches of different convolutions side by side."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, image
from archfront.space.library.layers_branch import Branch, BranchConv, branches_width, kernels_of, make_branches
from archfront.space.spec import Paper, Rule, StridedBlock
from archfront.space.types import Feature

Branches = Annotated[
    tuple[Branch, ...],
    Rule('a tuple of branches, each a tuple of layers such as (64, 3, 3), "max" or "average"', lambda v: v and all(v)),
]


class InceptionBlock(nn.Module):
    """Branches side by side, concatenated, and a 1x1 convolution where another width is wanted."""

    def __init__(self, branches: nn.Module, branches_width: int, out_channels: int, activation: str = "relu") -> None:
        super().__init__()
        self.branches = branches
        fits = branches_width == out_channels
        self.project = nn.Identity() if fits else BranchConv(branches_width, out_channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.branches(x))
        return y


class Inception(StridedBlock):
    """concat(branch_1(x), ..., branch_n(x)), each branch a sequence of convolutions (with BN and act) and 3x3 pooling.

    A convolution is written (channels, height, width), so "64 1x1, 96 3x3" of the paper is ((64, 1, 1), (96, 3, 3));
    a tuple of convolutions inside a branch stands for these side by side. The last layer of every branch carries the
    stride. Where the branches together yield another number of channels than the block has to, a 1x1 convolution with
    BN and act follows; the blocks of the paper do without.

    Args:
        branches: what stands side by side.
        activation: act.
        padding: of the last layers: "same" yields ceil(n / stride) positions, "valid" pads nothing. All other layers
            keep the size, and averages never count padding.

    Szegedy et al., 2017, Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning.
    """

    paper: ClassVar[Paper] = Paper(
        title="Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        authors="Christian Szegedy, Sergey Ioffe, Vincent Vanhoucke, Alexander A. Alemi",
        year=2017,
        key="inception_resnet",
    )

    branches: Branches = (
        ("average", (16, 1, 1)),
        ((16, 1, 1),),
        ((8, 1, 1), (16, 3, 3)),
        ((8, 1, 1), (16, 3, 3), (16, 3, 3)),
    )
    activation: Activation = "relu"
    padding: Literal["same", "valid"] = "same"

    def output(self, x: Feature) -> Feature:
        if self.padding == "same":
            return image(self, x).at(self.width, self.stride)
        kernels = {kernel for branch in self.branches for kernel in kernels_of(branch[-1])}
        if len(kernels) > 1:
            written = ", ".join(f"{height}x{width}" for height, width in sorted(kernels))
            raise ShapeError(f'branches end with {written}; use one size for all of them, or padding "same"')
        ((height, width),) = kernels
        size = (image(self, x).size[0] - height + 1, x.size[1] - width + 1)
        if min(size) < 1:
            raise ShapeError(f'{height}x{width} with padding "valid" is larger than {x}; use padding "same"')
        return Feature(x.channels, size).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        padded = self.padding == "same"
        branches = make_branches(x.channels, self.branches, self.stride, padded, self.activation)
        return InceptionBlock(branches, branches_width(self.branches, x.channels), width, self.activation)
