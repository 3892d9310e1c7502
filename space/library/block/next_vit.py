"""The convolutional and the transformer block of Next-ViT."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image, kept
from archfront.space.library.layers import DropPath, Shortcut
from archfront.space.library.mixer.multi_head_conv import MultiHeadConv
from archfront.space.library.mixer.pooled_token_attention import PooledTokenAttention
from archfront.space.spec import Factor, Paper, Positive, Probability, Rule, StridedBlock
from archfront.space.types import Feature


def make_divisible(value: float, divisor: int) -> int:
    """`value` to the nearest multiple of `divisor`, at least one, or the next one where that is below 90 %."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class NormMLP(nn.Sequential):
    """Batch norm, 1x1 expansion, ReLU, 1x1 projection."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.project = nn.Conv2d(hidden, channels, 1)


class NextConvModule(nn.Module):
    """An embedding to width and resolution, then a residual mixer and a residual perceptron."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mixer: nn.Module,
        hidden: int,
        stride: int = 1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = Shortcut(in_channels, out_channels, stride, pool=True)
        self.mixer = mixer
        self.mlp = NormMLP(out_channels, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.drop_path(self.mixer(x))
        y: Tensor = x + self.drop_path(self.mlp(x))
        return y


def side_by_side(heads: str, head_dim: int) -> Tensor:
    """Where the channels of each head come from, the "a" of `heads` first and the others behind: indices, (C,)."""
    behind = heads.count("a")
    starts = [heads[:i].count(kind) + (0 if kind == "a" else behind) for i, kind in enumerate(heads)]
    return (torch.tensor(starts)[:, None] * head_dim + torch.arange(head_dim)).flatten()


class NextTransformerModule(nn.Module):
    """Residual attention on most heads, residual convolution on a projection of its result, both side by side.

    `heads` says of each head whether it attends ("a") or convolves ("c"). A residual perceptron over all channels
    follows. Without `conv` all channels are the attention's.
    """

    order: Tensor

    def __init__(
        self,
        in_channels: int,
        heads: str,
        head_dim: int,
        attention: nn.Module,
        conv: nn.Module | None,
        hidden: int,
        stride: int = 1,
        drop_path: float = 0.0,
        attention_drop_path: float = 0.0,
        conv_drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        attended, convolved = (heads.count(kind) * head_dim for kind in "ac")
        self.register_buffer("order", side_by_side(heads, head_dim), persistent=False)
        self.embed = Shortcut(in_channels, attended, stride, pool=True)
        self.norm = nn.BatchNorm2d(attended)
        self.attention = attention
        self.attention_drop_path = DropPath(attention_drop_path)
        self.project = Shortcut(attended, convolved) if conv is not None else None
        self.conv = conv
        self.conv_drop_path = DropPath(conv_drop_path)
        self.mlp = NormMLP(attended + convolved, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.attention_drop_path(self.attention(self.norm(x)))
        if self.project is not None and self.conv is not None:
            local = self.project(x)
            x = torch.cat((x, local + self.conv_drop_path(self.conv(local))), 1).index_select(1, self.order)
        y: Tensor = x + self.drop_path(self.mlp(x))
        return y


class NextConv(StridedBlock):
    """x <- E x; x <- x + mixer(x); x <- x + W2 relu(W1 BN(x) + b1) + b2.

    E is the identity, or where the type changes a 1x1 convolution with BN, behind an average pooling over tiles where it
    strides. The hidden width is `expand` times the width, to a multiple of 32 (down by at most a tenth).

    Args:
        head_dim: channels of a head of the mixer, `MultiHeadConv`; divides the width. 32 in the paper.
        expand: hidden width over width.
        drop_path: probability of leaving out each of the two branches of a sample in training.

    Li et al., 2022, Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial
    Scenarios.
    """

    paper: ClassVar[Paper] = MultiHeadConv.paper

    head_dim: Positive = 16
    expand: Factor = 3.0
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        return kept("head_dim", MultiHeadConv(head_dim=self.head_dim), y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        mixer = MultiHeadConv(head_dim=self.head_dim).build(y)
        hidden = make_divisible(y.channels * self.expand, 32)
        return NextConvModule(x.channels, y.channels, mixer, hidden, self.stride, self.drop_path)


class NextTransformer(StridedBlock):
    """h <- E x; h <- h + attention(BN(h)); l <- P h; l <- l + conv(l); y <- [h, l]; y <- y + W2 relu(W1 BN(y) + b1) + b2.

    h has `mix_ratio` of the width, to a multiple of `head_dim` (down by at most a tenth), l the rest; where that is
    nothing, l and its convolution are left out. The authors lay all of h in front of l; here their heads alternate in
    such a way that a narrower block computes the first channels of a wider one, the same map with permuted channels.
    E and P are 1x1 convolutions with BN where the type changes, E behind an average pooling over tiles where it strides.
    The hidden width is `expand` times the width, to a multiple of 32.

    Args:
        mix_ratio: share of the channels that attend.
        ratio: reduction of the attention, `PooledTokenAttention`.
        head_dim: channels of a head of attention and convolution (`MultiHeadConv`); divides the width. 32 in the paper.
        expand: hidden width over width.
        drop_path: probability of leaving out the perceptron of a sample in training; those of attention and convolution
            are `mix_ratio` and 1 - `mix_ratio` times as much.

    Li et al., 2022, Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial
    Scenarios.
    """

    paper: ClassVar[Paper] = MultiHeadConv.paper

    mix_ratio: Annotated[float, Rule("a number above 0 and up to 1", lambda v: 0 < v <= 1)] = 0.75
    ratio: Positive = 1
    head_dim: Positive = 8
    expand: Factor = 2.0
    drop_path: Probability = 0.0

    def _attended(self, y: Feature) -> Feature:
        """h for the output y."""
        if y.channels % self.head_dim:
            raise ShapeError(f"head_dim {self.head_dim} does not divide {y.channels} channels")
        return Feature(min(y.channels, make_divisible(int(y.channels * self.mix_ratio), self.head_dim)), y.size)

    def _heads(self, y: Feature) -> str:
        """Which heads of the output y attend, "a", and which convolve, "c": those that one head of width more adds."""
        widths = range(0, y.channels + 1, self.head_dim)
        attended = [self._attended(Feature(width, y.size)).channels if width else 0 for width in widths]
        return "".join("a" if after > before else "c" for before, after in pairwise(attended))

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        kept("ratio", PooledTokenAttention(ratio=self.ratio, head_dim=self.head_dim), self._attended(y))
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        attended = self._attended(y)
        convolved = y.channels - attended.channels
        conv = MultiHeadConv(head_dim=self.head_dim).build(Feature(convolved, y.size)) if convolved else None
        return NextTransformerModule(
            x.channels,
            self._heads(y),
            self.head_dim,
            PooledTokenAttention(ratio=self.ratio, head_dim=self.head_dim).build(attended),
            conv,
            make_divisible(y.channels * self.expand, 32),
            self.stride,
            self.drop_path,
            self.drop_path * self.mix_ratio,
            self.drop_path * (1 - self.mix_ratio),
        )
