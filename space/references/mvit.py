"""Fan et al., 2021, Multiscale Vision Transformers: the network for images."""

from __future__ import annotations

from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.multiscale import MultiscaleBlock
from archfront.space.library.downsample.grid_class_token import GridClassToken
from archfront.space.library.downsample.pooling import PoolDownsample
from archfront.space.library.head.token_classifier import TokenClassifier
from archfront.space.library.mixer.pooling_attention import PoolingAttention
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published


def block(kv_stride: int) -> MultiscaleBlock:
    """A block that widens in its perceptron, with heads of 96 channels and no relative positions."""
    attention = PoolingAttention(
        kv_stride=kv_stride, pool_query=False, residual_pooling=False, relative_positions=False, head_dim=96
    )
    return MultiscaleBlock(attention=attention, widen="mlp")


@published(
    "MViT-B-16-image",
    paper=PoolingAttention.paper,
    params=36_982_600,
    gmacs=7.8,
    source="paper: 37.0 M parameters, 7.8 G",
)
def mvit_base(classes: int) -> Network:
    """MViT-B for images: a pooling of stride 1 leaves the map as it is for the class token to join."""
    return Network(
        stem=PatchStem(width=96, patch=4, kernel=7, padding=3),
        stages=(
            Stage(width=96, downsample=GridClassToken(downsample=PoolDownsample()), block=AbsolutePosition()),
            Stage(width=192, block=block(4)),
            Stage(width=192, stride=2, block=block(2)),
            Stage(width=384, block=block(2)),
            Stage(width=384, stride=2, depth=10, block=block(1)),
            Stage(width=768, block=block(1)),
            Stage(width=768, stride=2, depth=2, block=block(1)),
        ),
        head=TokenClassifier(classes=classes),
    )
