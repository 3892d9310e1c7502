"""A layer of the HyTra fabric: convolution or attention, at the scale it finds or one coarser."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import ConvNormAct, Shortcut, make_activation
from archfront.space.spec import Block, Factor, Gate, Paper, Positive, Spec
from archfront.space.types import Feature


class BareSelfAttention2d(nn.Module):
    """Every position of a feature map (N, C, H, W) attends to every position; no bias, no projection behind the heads."""

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        query, key, value = heads.contiguous().unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return mixed.transpose(-1, -2).reshape(x.shape)


class PositionedBottleneck(nn.Module):
    """1x1 reduction, a depthwise 3x3 convolution that tells positions and strides, a core, 1x1 expansion, a shortcut."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        core: nn.Module,
        stride: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        pool_shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.position = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.act1 = make_activation(activation)
        self.core = core
        self.norm2 = nn.BatchNorm2d(hidden)
        self.act2 = make_activation(activation)
        self.expand = ConvNormAct(hidden, out_channels)
        nn.init.zeros_(self.expand.norm.weight)  # type: ignore[arg-type]
        self.gate = nn.Identity() if gate is None else gate
        self.shortcut: nn.Module
        if pool_shortcut or (stride == 1 and in_channels == out_channels):
            self.shortcut = Shortcut(in_channels, out_channels, stride, pool_shortcut)
        else:
            kernel = 1 if stride == 1 else 3
            self.shortcut = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.act3 = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act1(self.norm1(self.position(self.reduce(x))))
        branch = self.gate(self.expand(self.act2(self.norm2(self.core(hidden)))))
        y: Tensor = self.act3(branch + self.shortcut(x))
        return y


class HyTraLayer(Block):
    """y = act(S x + gate(BN W3 act(BN core(act(BN P W1 x))))): ResConv or ResAtt, which may lead to the next scale.

    W1 reduces to `ratio` times the yielded channels C, P is a depthwise 3x3 convolution with bias, the core a 3x3
    convolution or self-attention (without projection) on as many channels, W3 expands to C with a last normalisation
    that starts at zero. `down` doubles the channels and gives P stride 2. S is the input itself where the type is kept;
    else a convolution, 3x3 with stride 2 or 1x1, with BN and activation; with `pool_shortcut` average pooling and a 1x1
    convolution with BN.

    A stage of such layers is the fabric: its width is that of the finest scale, and
    `Stage(width=256, depth=16, block=HyTraLayer(core=one_of("conv", "attention"), down=one_of(False, True),
    widest=2048, most_positions=196))` chooses down-sampling positions and operators layer by layer. Combinations that
    lead beyond `widest`, or have attention on larger maps, are refused with a `ShapeError`, so they are never drawn.

    Args:
        core: "conv" (ResConv) or "attention" (ResAtt).
        down: whether this layer goes to the next scale: twice the channels, half the size, rounded up.
        width: least channels that it yields before they are doubled; a stage sets its own.
        widest: most channels that it may yield.
        most_positions: most positions that attention looks at.
        ratio: of inner to yielded channels.
        head_dim: channels of a head; a single head where there are fewer inner channels.
        activation: act.
        gate: in front of the addition, of "conv" layers.
        pool_shortcut: see S.

    Li et al., 2021, BossNAS: Exploring Hybrid CNN-transformers with Block-wisely Self-supervised Neural Architecture
    Search.
    """

    paper: ClassVar[Paper] = Paper(
        key="bossnas",
        title="BossNAS: Exploring Hybrid CNN-transformers with Block-wisely Self-supervised Neural Architecture Search",
        authors="Changlin Li, Tao Tang, Guangrun Wang, Jiefeng Peng, Bing Wang, Xiaodan Liang, Xiaojun Chang",
        year=2021,
    )

    core: Literal["conv", "attention"] = "conv"
    down: bool = False
    width: Positive | None = None
    widest: Positive | None = None
    most_positions: Positive | None = None
    ratio: Factor = 0.25
    head_dim: Positive = 64
    activation: Activation = "relu"
    gate: Gate | None = None
    pool_shortcut: bool = False

    def at(self, width: int | None, stride: int) -> Spec:
        """This layer yielding at least `width` channels; behind a downsampling where a stage asks for a stride."""
        return self.replaced({"width": width}, self.open_fields) if stride == 1 else super().at(width, stride)

    def output(self, x: Feature) -> Feature:
        stride = 2 if self.down else 1
        y = image(self, x).at(max(x.channels, self.width or 0) * stride, stride)
        if self.widest is not None and y.channels > self.widest:
            raise ShapeError(f"HyTraLayer leads to {y.channels} channels, {self.widest} at most; use down=False")
        if self.core == "attention":
            self._heads(y)
        return y

    def _heads(self, y: Feature) -> int:
        positions, hidden = y.size[0] * y.size[1], scaled(y.channels, self.ratio)
        if self.most_positions is not None and positions > self.most_positions:
            raise ShapeError(f"HyTraLayer has attention on {positions} positions, {self.most_positions} at most")
        heads = max(1, hidden // self.head_dim)
        if hidden % heads:
            raise ShapeError(f"{heads} heads do not divide {hidden} inner channels; choose another head_dim or ratio")
        return heads

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        hidden = scaled(y.channels, self.ratio)
        core: nn.Module = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False)
        if self.core == "attention":
            core = BareSelfAttention2d(hidden, self._heads(y))
        gate = self.gate.build(y) if self.gate is not None and self.core == "conv" else None
        stride = 2 if self.down else 1
        return PositionedBottleneck(
            x.channels, y.channels, hidden, core, stride, self.activation, gate, self.pool_shortcut
        )
