"""Zhu et al., 2024, Revisiting the Integration of Convolution and Attention for Vision Backbone."""

from __future__ import annotations

from archfront.space.library.block.glmix_block import GLMixBlock
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.uniformer import UniFormer
from archfront.space.library.channel_mixer.enhanced_feed_forward import EnhancedFeedForward
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.glmix import GLMix
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Block

MIXER = GLMix(head_dim=32)
ATTENTION = SelfAttention(head_dim=32)


def glnet(width: int, classes: int) -> Network:
    """Stages of slots, slots, slots and attention in turn, attention; convolutions encode positions everywhere."""
    channel_mixer = EnhancedFeedForward(expand=3)
    slots = GLMixBlock(mixer=MIXER, channel_mixer=channel_mixer, position_kernel=3)
    attention = UniFormer(mixer=ATTENTION, channel_mixer=channel_mixer, norm="layer")
    stages: tuple[tuple[Block, ...], ...] = ((slots,) * 4, (slots,) * 4, (slots, attention) * 9, (attention,) * 4)
    return Network(
        stem=DoubleConvStem(width=width),
        stages=tuple(
            Stage(
                width=width * 2**i,
                stride=2 if i else 1,
                downsample=PatchDownsample(kernel=3, norm="batch") if i else None,
                blocks=blocks,
            )
            for i, blocks in enumerate(stages)
        ),
        head=Classifier(classes=classes, norm="batch"),
    )


@published(
    "GLNet-4G",
    paper=GLMix.paper,
    params=27_001_593,
    gmacs=4.48,
    source="authors' repository: 27 M parameters, 4.5 G; counted on their code: 27.0 M, 4.48 G",
)
def glnet_4g(classes: int) -> Network:
    """GLNet-4G."""
    return glnet(64, classes)


@published(
    "GLNet-9G",
    paper=GLMix.paper,
    params=60_010_617,
    gmacs=9.59,
    source="authors' repository: 60 M parameters, 9.7 G; counted on their code: 60.01 M, 9.59 G",
)
def glnet_9g(classes: int) -> Network:
    """GLNet-9G."""
    return glnet(96, classes)


@published(
    "GLNet-STL",
    paper=GLMix.paper,
    params=30_296_786,
    gmacs=4.35,
    source="authors' repository: 30 M parameters, 4.4 G; counted on their code: 30.3 M, 4.35 G",
)
def glnet_swin_layout(classes: int) -> Network:
    """GLMix in the widths, depths, stem and downsampling of Swin-T, with attention in the last stage."""
    blocks = (GLMixBlock(mixer=MIXER),) * 3 + (MetaFormer(mixer=ATTENTION),)
    return Network(
        stem=PatchStem(width=96, norm="batch"),
        stages=tuple(
            Stage(
                width=96 * 2**i,
                depth=depth,
                stride=2 if i else 1,
                downsample=PatchDownsample(norm="batch", norm_first=True) if i else None,
                block=block,
            )
            for i, (depth, block) in enumerate(zip((2, 2, 6, 2), blocks, strict=True))
        ),
        head=Classifier(classes=classes, norm="batch"),
    )
