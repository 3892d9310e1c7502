"""The improved inverted residual mobile block of EMOv2: attention inside an inverted residual, one shortcut for all."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, Norm, divisors, head_count, image, listed, scaled
from archfront.space.library.layers import ConvNormAct, DropPath, LayerScale, make_activation, make_norm
from archfront.space.library.layers_partition import Partition, in_heads, out_of_heads
from archfront.space.spec import Factor, Odd, Paper, Positive, Probability, StridedBlock
from archfront.space.types import Feature


class AttentiveExpansion(nn.Module):
    """Expansion (N, C, H, W) to (N, hidden, H, W) by attention: queries and keys have C channels, values `hidden`.

    The attention of every partition is added up; all share queries, keys and values.
    """

    fused_outputs: ClassVar[dict[str, int]] = {"qk": 2}

    def __init__(
        self, channels: int, hidden: int, heads: int, partitions: tuple[nn.Module, ...], activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.heads = heads
        self.partitions = nn.ModuleList(partitions)
        self.qk = nn.Conv2d(channels, 2 * channels, 1)
        self.value = nn.Conv2d(channels, hidden, 1)
        self.act = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        qk, value = self.qk(x), self.act(self.value(x))
        first, *others = (self.attend(qk, value, partition) for partition in self.partitions)
        for other in others:
            first = first + other
        return first

    def attend(self, qk: Tensor, value: Tensor, partition: Any) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V in the groups of one partition."""
        queries, keys = (in_heads(part, self.heads) for part in partition.split(qk).chunk(2, 2))
        values = in_heads(partition.split(value), self.heads)
        mask = None if partition.mask is None else partition.mask.repeat(qk.shape[0], self.heads, 1, 1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        y: Tensor = partition.merge(out_of_heads(mixed))
        return y


class InvertedMobileBlock(nn.Module):
    """Normalisation, expansion, depthwise convolution, 1x1 projection.

    With `skip` there is a shortcut around the depthwise convolution and one around the block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        expand: nn.Module,
        kernel: int = 5,
        stride: int = 1,
        skip: bool = True,
        norm: str = "layer",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.norm = make_norm(norm, in_channels)
        self.expand = expand
        self.local = ConvNormAct(hidden, hidden, kernel, stride, groups=hidden, activation="silu")
        self.project = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.scale = LayerScale(out_channels, layer_scale) if layer_scale else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(self.norm(x))
        local = self.local(hidden)
        y: Tensor = self.scale(self.project(hidden + local if self.skip else local))
        return x + self.drop_path(y) if self.skip else y


class InvertedMobile(StridedBlock):
    """x + s P (e + SiLU(BN(D e))), e = E norm(x): E an expansion, D a depthwise convolution, P a 1x1 projection.

    E to `expand` times the width (rounded) is a 1x1 convolution with act, or attention in which values
    act(V norm(x)) have the expanded width and queries and keys the input width; softmax(Q K^T / sqrt(d)) mixes them
    inside windows of neighbours ("near"), inside grids that span the map ("remote"), or both added up ("hybrid"). One
    block thus does the work of an attention block and of a perceptron, with a single shortcut.

    A block that changes width or stride expands twice as far by a convolution, whatever `operator` says, and has no
    shortcuts; its s starts at 1, since nothing else carries the signal.

    Args:
        operator: E.
        kernel: extent of D, which carries the stride.
        expand: hidden width over input width.
        window: extent of the groups; a map that it does not divide is padded, and padding masked out.
        head_dim: channels of a head of queries and keys; divides the width.
        norm: "batch" in the early stages, "layer" in the late ones.
        activation: act.
        layer_scale: s is a learnt factor a channel that starts at this value; None leaves it out.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Zhang et al., 2024, EMOv2: Pushing 5M Vision Model Frontier.
    """

    paper: ClassVar[Paper] = Paper(
        title="EMOv2: Pushing 5M Vision Model Frontier",
        authors="Jiangning Zhang, Teng Hu, Haoyang He, Zhucun Xue, Yabiao Wang, Chengjie Wang, Yong Liu, Xiangtai Li, "
        "Dacheng Tao",
        year=2024,
        key="i2rmb",
    )

    operator: Literal["conv", "near", "remote", "hybrid"] = "hybrid"
    kernel: Odd = 5
    expand: Factor = 4.0
    window: Positive = 7
    head_dim: Positive = 16
    norm: Norm = "layer"
    activation: Activation = "gelu"
    layer_scale: Factor | None = 1e-6
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if y == x and self.operator != "conv":
            heads = head_count(x.channels, None, self.head_dim)
            hidden = scaled(x.channels, self.expand)
            if hidden % heads:
                fits = [n for n in divisors(hidden) if x.channels % n == 0]
                raise ShapeError(
                    f"{heads} heads do not divide the {hidden} expanded channels; use {listed(fits)} heads or another "
                    "expand"
                )
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        keeps = y == x
        hidden = scaled(x.channels, self.expand if keeps else 2 * self.expand)
        scale = self.layer_scale if keeps or self.layer_scale is None else 1.0
        return InvertedMobileBlock(
            x.channels,
            y.channels,
            hidden,
            self._expansion(x, hidden, keeps),
            self.kernel,
            self.stride,
            keeps,
            self.norm,
            scale,
            self.drop_path,
        )

    def _expansion(self, x: Feature, hidden: int, keeps: bool) -> nn.Module:
        if self.operator == "conv" or not keeps:
            return ConvNormAct(x.channels, hidden, norm="none", activation=self.activation)
        height, width = x.size
        extent = min(self.window, max(height, width))
        grids = {"near": (False,), "remote": (True,), "hybrid": (False, True)}[self.operator]
        partitions = tuple(Partition((height, width), extent, grid) for grid in grids)
        heads = head_count(x.channels, None, self.head_dim)
        return AttentiveExpansion(x.channels, hidden, heads, partitions, self.activation)
