"""Li et al., 2022, MViTv2: Improved Multiscale Vision Transformers for Classification and Detection."""

from __future__ import annotations

from archfront.space.library.block.multiscale import MultiscaleBlock
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.pooling_attention import PoolingAttention
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Paper

PAPER = Paper(
    title="MViTv2: Improved Multiscale Vision Transformers for Classification and Detection",
    authors="Yanghao Li, Chao-Yuan Wu, Haoqi Fan, Karttikeya Mangalam, Bo Xiong, Jitendra Malik, "
    "Christoph Feichtenhofer",
    year=2022,
)
KV_STRIDES = (4, 2, 1, 1)


def mvitv2(depths: tuple[int, int, int, int], classes: int) -> Network:
    """Four stages of 96, 192, 384 and 768 channels in heads of 96; keys keep their number until the third."""
    return Network(
        stem=PatchStem(width=96, patch=4, kernel=7, padding=3),
        stages=tuple(
            Stage(
                width=96 * 2**i,
                depth=depth,
                stride=2 if i else 1,
                block=MultiscaleBlock(attention=PoolingAttention(kv_stride=KV_STRIDES[i], head_dim=96)),
            )
            for i, depth in enumerate(depths)
        ),
        head=Classifier(classes=classes, norm="layer"),
    )


@published(
    "MViTv2-T",
    paper=PAPER,
    params=24_173_320,
    gmacs=4.7,
    source="authors' code: 24 M parameters, 4.7 G; timm results, mvitv2_tiny: 24.17 M parameters, 4.70 GMACs",
)
def mvitv2_tiny(classes: int) -> Network:
    """MViTv2-T."""
    return mvitv2((1, 2, 5, 2), classes)


@published(
    "MViTv2-S",
    paper=PAPER,
    params=34_870_216,
    gmacs=7.0,
    source="authors' code: 35 M parameters, 7.0 G; timm results, mvitv2_small: 34.87 M parameters, 7.00 GMACs",
)
def mvitv2_small(classes: int) -> Network:
    """MViTv2-S."""
    return mvitv2((1, 2, 11, 2), classes)


@published(
    "MViTv2-B",
    paper=PAPER,
    params=51_472_744,
    gmacs=10.16,
    source="authors' code: 52 M parameters, 10.2 G; timm results, mvitv2_base: 51.47 M parameters, 10.16 GMACs",
)
def mvitv2_base(classes: int) -> Network:
    """MViTv2-B."""
    return mvitv2((2, 3, 16, 3), classes)
