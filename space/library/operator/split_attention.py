"""Convolution into several splits that are recombined by attention over them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Finished, divisors, image, listed
from archfront.space.spec import Odd, Operator, Paper, Positive, Rule
from archfront.space.types import Feature

Radix = Annotated[int, Rule("1, 2 or 4", lambda v: v in (1, 2, 4))]


class SplitAttentionConv(nn.Module):
    """A grouped convolution to `radix` splits of the width, added up with weights computed from their means."""

    fused_outputs: dict[str, int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int = 3,
        stride: int = 1,
        radix: int = 2,
        cardinality: int = 1,
    ) -> None:
        super().__init__()
        self.radix = radix
        self.cardinality = cardinality
        self.fused_outputs = {"conv": radix, "norm": radix, "expand": radix * cardinality}
        splits = radix * out_channels
        groups = radix * cardinality
        self.conv = nn.Conv2d(in_channels, splits, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(splits)
        self.act = nn.ReLU()
        self.reduce = nn.Conv2d(out_channels, hidden, 1, groups=cardinality)
        self.hidden_norm = nn.BatchNorm2d(hidden)
        self.hidden_act = nn.ReLU()
        self.expand = nn.Conv2d(hidden, splits, 1, groups=cardinality)

    def forward(self, x: Tensor) -> Tensor:
        splits = self.act(self.norm(self.conv(x))).unflatten(1, (self.radix, -1))
        y: Tensor = (self.weights(splits) * splits).sum(1)
        return y

    def weights(self, splits: Tensor) -> Tensor:
        """The weight of every channel of every split: (N, radix, C, H, W) to (N, radix, C, 1, 1)."""
        means = splits.sum(1).mean((2, 3), keepdim=True)
        hidden = self.hidden_act(self.hidden_norm(self.reduce(means)))
        scores = self.expand(hidden).reshape(-1, self.cardinality, self.radix, splits.shape[2] // self.cardinality)
        weights = scores.transpose(1, 2).reshape(-1, self.radix, splits.shape[2], 1, 1)
        return torch.softmax(weights, 1) if self.radix > 1 else torch.sigmoid(weights)


class SplitAttention(Operator, Finished):
    """y = sum_r a_r * u_r over the R = `radix` splits u = relu(BN(W * x)), a grouped convolution to R C channels.

    With z the mean over positions of sum_r u_r and scores V relu(BN(U z)), a is for every channel the softmax of its
    scores over the splits, for R = 1 the sigmoid. W has `cardinality` * R groups, U and V `cardinality`, whose scores
    are ordered by group, then split. The inner width is max(C R / `reduction`, 32), rounded up to a multiple of
    `cardinality`, with C the input width. `radix=1, cardinality=1` gates the convolution like squeeze-excitation.

    `cardinality * radix` must divide the input width, `cardinality` the output width. BN of single numbers needs
    batches of at least two images in training.

    Args:
        kernel: extent of W.
        radix: number of splits.
        cardinality: number of groups that attend on their own.
        reduction: width of all splits over inner width.

    Zhang et al., 2020, ResNeSt: Split-Attention Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="ResNeSt: Split-Attention Networks",
        authors="Hang Zhang, Chongruo Wu, Zhongyue Zhang, Yi Zhu, Haibin Lin, Zhi Zhang, Yue Sun, Tong He, "
        "Jonas Mueller, R. Manmatha, Mu Li, Alexander Smola",
        year=2020,
        key="resnest_split_attention",
    )

    kernel: Odd = 3
    radix: Radix = 2
    cardinality: Positive = 1
    reduction: Positive = 4

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if x.channels % (self.cardinality * self.radix):
            fits = [n for n in divisors(x.channels) if n % self.radix == 0] or divisors(x.channels)
            raise ShapeError(
                f"cardinality {self.cardinality} times radix {self.radix} does not divide {x.channels} channels; "
                f"the product may be {listed(fits)}"
            )
        if y.channels % self.cardinality:
            raise ShapeError(
                f"cardinality {self.cardinality} does not divide {y.channels} channels; "
                f"use {listed(divisors(y.channels))}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        hidden = max(x.channels * self.radix // self.reduction, 32)
        hidden += -hidden % self.cardinality
        return SplitAttentionConv(
            x.channels, y.channels, hidden, self.kernel, self.stride, self.radix, self.cardinality
        )
