"""Hierarchical deep layer aggregation: the blocks of a stage as the leaves of a binary tree."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.pooled_residual import PooledResidual
from archfront.space.library.common import image
from archfront.space.spec import Odd, Paper, Positive, StridedBlock
from archfront.space.types import Feature


class AggregationRoot(nn.Module):
    """Merges the results of `nodes` blocks and subtrees of equal width: convolution of all, norm, activation.

    `entry` is the width of one more input, which is convolved on its own: the same as concatenating it.
    """

    def __init__(
        self, channels: int, nodes: int, entry: int | None = None, kernel: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        self.fused_inputs = {"conv": nodes}
        self.residual = residual
        self.conv = nn.Conv2d(nodes * channels, channels, kernel, padding=kernel // 2, bias=False)
        self.conv_entry = nn.Conv2d(entry, channels, kernel, padding=kernel // 2, bias=False) if entry else None
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()

    def forward(self, nodes: tuple[Tensor, ...], entry: Tensor | None = None) -> Tensor:
        y = self.conv(torch.cat(nodes, 1))
        if self.conv_entry is not None:
            y = y + self.conv_entry(entry)
        y = self.norm(y)
        merged: Tensor = self.act(y + nodes[0] if self.residual else y)
        return merged


class AggregationPair(nn.Module):
    """A tree of depth 1: two blocks, and the root that merges them with all that is handed to it."""

    def __init__(self, left: nn.Module, right: nn.Module, root: nn.Module) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.root = root

    def forward(self, x: Tensor, inherited: tuple[Tensor, ...] = (), entry: Tensor | None = None) -> Tensor:
        left = self.left(x)
        y: Tensor = self.root((self.right(left), left, *inherited), entry)
        return y


class AggregationSplit(nn.Module):
    """A tree of depth above 1: two trees; the last root of the right one is handed the result of the left one."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left = left
        self.right = right

    def forward(self, x: Tensor, inherited: tuple[Tensor, ...] = (), entry: Tensor | None = None) -> Tensor:
        left = self.left(x)
        y: Tensor = self.right(left, (*inherited, left), entry)
        return y


class AggregatedBlocks(nn.Module):
    """A tree of blocks; with `level_root` its last root is handed the input as well, reduced to its size."""

    def __init__(self, tree: nn.Module, stride: int = 1, level_root: bool = False) -> None:
        super().__init__()
        self.tree = tree
        self.level_root = level_root
        self.pool = nn.MaxPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tree(x, (), self.pool(x) if self.level_root else None)
        return y


class AggregationTree(StridedBlock):
    """2^depth blocks merged by 2^(depth - 1) roots: T1(x) = R(b2, b1, ...), b1 = B(x), b2 = B(b1); Tn(x) = Tn-1(Tn-1(x)).

    R(n1, ..., nk) = relu(BN(W * [n1, ..., nk]) (+ n1)). The last root of the right tree in Tn is handed, besides its two
    blocks, the result of the left tree and all that Tn itself was handed, so that `depth` roots lie between any block
    and the end at most. The first block changes width and stride. `Stage(width=64, stride=2, block=AggregationTree(...))`
    is a stage of DLA; `block=one_of(BasicBlock(), AggregationTree(block=BasicBlock()))` makes aggregation a choice.

    Args:
        depth: of the tree; the paper uses 1 to 5.
        block: B, the same choice for all blocks of the tree.
        root_residual: whether a root adds its first input; helps networks of 100 layers and more.
        root_kernel: extent of W.
        level_root: whether the last root is handed the input of the tree too, reduced by a maximum over tiles.

    Yu et al., 2018, Deep Layer Aggregation.
    """

    paper: ClassVar[Paper] = PooledResidual.paper

    depth: Positive = 1
    block: StridedBlock = BasicBlock()
    root_residual: bool = False
    root_kernel: Odd = 1
    level_root: bool = False

    def output(self, x: Feature) -> Feature:
        wanted = image(self, x).at(self.width, self.stride)
        try:
            y = self.block.at(wanted.channels, self.stride).output(x)
            if y != wanted:
                raise ShapeError(f"{type(self.block).__name__} must yield {wanted} for {x}, but yields {y}")
            self.block.at(y.channels, 1).output(y)
        except ShapeError as error:
            raise error.inside("block") from None
        return y

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        tree = self._tree(self.depth, x, self.stride, 0, x.channels if self.level_root else None)
        return AggregatedBlocks(tree, self.stride, self.level_root)

    def _tree(self, depth: int, x: Feature, stride: int, inherited: int, entry: int | None) -> nn.Module:
        """The tree of `depth` on `x`, whose last root is handed `inherited` results and an input of width `entry`."""
        y = x.at(self.width, stride)
        if depth == 1:
            first, second = self.block.at(y.channels, stride), self.block.at(y.channels, 1)
            root = AggregationRoot(y.channels, 2 + inherited, entry, self.root_kernel, self.root_residual)
            return AggregationPair(first.build(x), second.build(y), root)
        left = self._tree(depth - 1, x, stride, 0, None)
        return AggregationSplit(left, self._tree(depth - 1, y, 1, inherited + 1, entry))
