"""The transformer block that changes resolution inside its attention."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, head_count, image, scaled
from archfront.space.library.downsample.grid_class_token import TokenGrid, on_grid
from archfront.space.library.layers import DropPath, LayerNorm2d, make_activation
from archfront.space.library.mixer.pooling_attention import PoolingAttention
from archfront.space.spec import Factor, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class MultiscaleTransformerBlock(nn.Module):
    """Pooled attention beside a max-pooled shortcut, then a perceptron; one of the two changes the width.

    With `grid` the map is a row of a class token, which is not pooled, and h x w positions.
    """

    def __init__(
        self,
        in_channels: int,
        attention: nn.Module,
        attention_channels: int,
        hidden: int,
        out_channels: int,
        stride: int = 1,
        activation: str = "gelu",
        drop_path: float = 0.0,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.widens = in_channels != out_channels
        self.early = attention_channels == out_channels
        self.norm1 = LayerNorm2d(in_channels)
        self.attention = attention
        kernel = stride | 1
        self.pool = nn.MaxPool2d(kernel, stride, padding=kernel // 2) if stride > 1 else nn.Identity()
        self.widen = nn.Conv2d(in_channels, out_channels, 1) if self.widens else nn.Identity()
        self.norm2 = LayerNorm2d(attention_channels)
        self.expand = nn.Conv2d(attention_channels, hidden, 1)
        self.act = make_activation(activation)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = on_grid(self.pool, self.widen(normed) if self.widens and self.early else x, self.grid)
        x = x + self.drop_path(self.attention(normed))
        normed = self.norm2(x)
        x = self.widen(normed) if self.widens and not self.early else x
        y: Tensor = x + self.drop_path(self.project(self.act(self.expand(normed))))
        return y


class MultiscaleBlock(StridedBlock):
    """x' = pool(S n1) + attention(n1); y = x' + W2 act(W1 n2 + b1) + b2, n1 = LN(x), n2 = LN(x').

    The attention is that of PoolingAttention, its queries pooled with the stride of the block; the shortcut is a max
    pooling of an odd kernel around the stride. Where the width changes, S is a linear map of n1, elsewhere S n1 is x.
    `widen="mlp"` moves the change of width into the perceptron (y = S n2 + ...), as the first MViT has it in the last
    block of a stage. Behind GridClassToken the stride is that of the grid, and the class token passes the poolings by.

    Args:
        attention: how keys, values and queries are pooled, and its heads, which divide the width.
        expand: hidden width of the perceptron over the width of the attention.
        activation: act.
        widen: the branch that changes the width.
        drop_path: probability of leaving out each of the two branches of a sample in training.

    Fan et al., 2021, Multiscale Vision Transformers; `widen="attention"` from Li et al., 2022, MViTv2: Improved
    Multiscale Vision Transformers for Classification and Detection.
    """

    paper: ClassVar[Paper] = PoolingAttention.paper

    attention: PoolingAttention = PoolingAttention()
    expand: Factor = 4.0
    activation: Activation = "gelu"
    widen: Literal["attention", "mlp"] = "attention"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        head_count(self._attention_width(image(self, x)), self.attention.heads, self.attention.head_dim)
        return x.strided(self.width, self.stride) if isinstance(x, TokenGrid) else x.at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        channels, inner = self.output(x).channels, self._attention_width(x)
        return MultiscaleTransformerBlock(
            x.channels,
            self.attention.strided(x, inner, self.stride),
            inner,
            scaled(inner, self.expand),
            channels,
            self.stride,
            self.activation,
            self.drop_path,
            x.grid if isinstance(x, TokenGrid) else None,
        )

    def _attention_width(self, x: Feature) -> int:
        return x.channels if self.widen == "mlp" or self.width is None else self.width
