"""Zhu et al., 2023, BiFormer: Vision Transformer with Bi-Level Routing Attention."""

from __future__ import annotations

from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.uniformer import UniFormer
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.bilevel_routing import BiLevelRouting
from archfront.space.library.mixer.locally_enhanced_attention import LocallyEnhancedAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Mixer

MIXERS: tuple[Mixer, ...] = (
    BiLevelRouting(topk=1, head_dim=32),
    BiLevelRouting(topk=4, head_dim=32),
    BiLevelRouting(topk=16, head_dim=32),
    LocallyEnhancedAttention(heads=8),
)


def biformer(width: int, depths: tuple[int, int, int, int], classes: int) -> Network:
    """Four stages that look at more and more regions; convolutions encode positions and reduce the resolution."""
    return Network(
        stem=DoubleConvStem(width=width),
        stages=tuple(
            Stage(
                width=width * 2**i,
                depth=depth,
                stride=2 if i else 1,
                downsample=PatchDownsample(kernel=3, norm="batch") if i else None,
                block=UniFormer(mixer=mixer, channel_mixer=FeedForward(expand=3), norm="layer"),
            )
            for i, (depth, mixer) in enumerate(zip(depths, MIXERS, strict=True))
        ),
        head=Classifier(classes=classes, norm="batch"),
    )


@published(
    "BiFormer-T",
    paper=BiLevelRouting.paper,
    params=13_142_760,
    gmacs=2.22,
    source="authors' repository: 13.1 M parameters, 2.2 G; counted on their code: 13.14 M, 2.22 G",
)
def biformer_tiny(classes: int) -> Network:
    """BiFormer-T."""
    return biformer(64, (2, 2, 8, 2), classes)


@published(
    "BiFormer-S",
    paper=BiLevelRouting.paper,
    params=25_536_232,
    gmacs=4.46,
    source="authors' repository: 25.5 M parameters, 4.5 G; counted on their code: 25.54 M, 4.46 G",
)
def biformer_small(classes: int) -> Network:
    """BiFormer-S."""
    return biformer(64, (4, 4, 18, 4), classes)


@published(
    "BiFormer-B",
    paper=BiLevelRouting.paper,
    params=56_804_968,
    gmacs=9.76,
    source="authors' repository: 56.8 M parameters, 9.8 G; counted on their code: 56.8 M, 9.76 G",
)
def biformer_base(classes: int) -> Network:
    """BiFormer-B."""
    return biformer(96, (4, 4, 18, 4), classes)


@published(
    "BiFormer-STL",
    paper=BiLevelRouting.paper,
    params=28_372_552,
    gmacs=4.6,
    source="authors' repository: 28.4 M parameters, 4.6 G",
)
def biformer_swin_layout(classes: int) -> Network:
    """BiFormer with the widths, depths, stem and downsampling of Swin-T, to compare the mixers alone."""
    return Network(
        stem=PatchStem(width=96, norm="batch"),
        stages=tuple(
            Stage(
                width=96 * 2**i,
                depth=depth,
                stride=2 if i else 1,
                downsample=PatchDownsample(norm="batch", norm_first=True) if i else None,
                block=MetaFormer(mixer=mixer),
            )
            for i, (depth, mixer) in enumerate(zip((2, 2, 6, 2), MIXERS, strict=True))
        ),
        head=Classifier(classes=classes, norm="batch"),
    )
