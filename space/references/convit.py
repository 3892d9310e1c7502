"""d'Ascoli et al., 2021, ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.downsample.class_token import ClassToken
from archfront.space.library.downsample.pooling import PoolDownsample
from archfront.space.library.head.token_classifier import TokenClassifier
from archfront.space.library.mixer.conv_projection_attention import ConvProjectionAttention
from archfront.space.library.mixer.gated_positional_attention import GatedPositionalAttention
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = GatedPositionalAttention.paper


def convit(
    heads: int, classes: int, *, head_dim: int = 48, depth: int = 12, local: int = 10, patch: int = 16
) -> Network:
    """Heads of `head_dim` channels; `local` gated positional blocks, then plain ones that a class token joins.

    A pooling of stride 1 leaves the map as it is; plain self-attention without bias is the linear projection of CvT.
    """
    width = head_dim * heads
    attention = ConvProjectionAttention(projection="linear", kv_stride=1, heads=heads, scale="head", qkv_bias=False)
    return Network(
        stem=PatchStem(width=width, patch=patch),
        stages=(
            Stage(
                width=width,
                blocks=(AbsolutePosition(), *(MetaFormer(mixer=GatedPositionalAttention(heads=heads)),) * local),
            ),
            Stage(
                width=width,
                downsample=ClassToken(downsample=PoolDownsample()),
                depth=depth - local,
                block=MetaFormer(mixer=attention),
            ),
        ),
        head=TokenClassifier(classes=classes),
    )


@published(
    "ConViT-Ti",
    paper=PAPER,
    params=5_710_512,
    gmacs=1.26,
    source="paper: 6 M parameters, 1 G; timm results, convit_tiny: 5.71 M parameters, 1.26 GMACs",
)
def convit_tiny(classes: int) -> Network:
    """ConViT-Ti."""
    return convit(4, classes)


@published(
    "ConViT-S",
    paper=PAPER,
    params=27_777_322,
    gmacs=5.76,
    source="paper: 27 M parameters, 5.4 G; timm results, convit_small: 27.78 M parameters, 5.76 GMACs",
)
def convit_small(classes: int) -> Network:
    """ConViT-S."""
    return convit(9, classes)


published("ConViT-Ti+", paper=PAPER, params=9_972_912, gmacs=None, source="paper: 10 M parameters, 2 G")(
    partial(convit, 4, head_dim=64)
)
published("ConViT-S+", paper=PAPER, params=48_979_882, gmacs=10.0, source="paper: 48 M parameters, cut off, 10 G")(
    partial(convit, 9, head_dim=64)
)
