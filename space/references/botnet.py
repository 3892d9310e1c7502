"""Srinivas et al., 2021, Bottleneck Transformers for Visual Recognition."""

from __future__ import annotations

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.all_to_all_attention import AllToAllAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.stem.deep import DeepStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.types import Image

PAPER = AllToAllAttention.paper
CONVOLUTION = Bottleneck()
ATTENTION = Bottleneck(operator=AllToAllAttention(heads=4))


def botnet50(classes: int, last_stride: int) -> Network:
    """ResNet-50 with attention in the last stage, entered with `last_stride`."""
    stages = ((256, 3, 1), (512, 4, 2), (1024, 6, 2))
    return Network(
        stem=ConvStem(width=64, kernel=7, stride=2, pool=True),
        stages=(
            *(Stage(width=width, depth=depth, stride=stride, block=CONVOLUTION) for width, depth, stride in stages),
            Stage(width=2048, depth=3, stride=last_stride, block=ATTENTION),
        ),
        head=Classifier(classes=classes),
    )


@published(
    "BoTNet-50",
    paper=PAPER,
    params=20_852_008,
    gmacs=None,
    source="paper: 20.8 M parameters, cut off as it cuts those of ResNet-50 (25.5 M); its 3.79 G fits no placement of "
    "the pooling, this counts 4.02 G",
)
def botnet50_s2(classes: int) -> Network:
    """BoTNet-50."""
    return botnet50(classes, 2)


@published(
    "BoTNet-S1-50",
    paper=PAPER,
    params=20_859_176,
    gmacs=None,
    source="paper: 20.8 M parameters, cut off; its 4.27 G fits no three blocks on 14x14 positions, this counts 5.41 G",
)
def botnet50_s1(classes: int) -> Network:
    """BoTNet-50 whose last stage keeps the resolution."""
    return botnet50(classes, 1)


@published(
    "botnet26t_256",
    paper=PAPER,
    params=12_488_672,
    gmacs=3.3,
    source="timm results, botnet26t_256: 12.49 M parameters, 3.32 GMACs",
    input=Image(3, 256, 256),
)
def botnet26t_256(classes: int) -> Network:
    """Two blocks a stage behind a tiered stem; attention in one block of the third stage and all of the fourth."""
    return Network(
        stem=DeepStem(width=64, hidden=(24, 32), pool=True),
        stages=(
            Stage(width=256, depth=2, block=CONVOLUTION),
            Stage(width=512, stride=2, depth=2, block=CONVOLUTION),
            Stage(width=1024, stride=2, blocks=(CONVOLUTION, ATTENTION)),
            Stage(width=2048, stride=2, depth=2, block=ATTENTION),
        ),
        head=Classifier(classes=classes),
    )
