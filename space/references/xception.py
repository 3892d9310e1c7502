"""Chollet, 2017, Xception: Deep Learning with Depthwise Separable Convolutions; and its aligned variant."""

from __future__ import annotations

from archfront.space.library.block.operator_layer import OperatorLayer
from archfront.space.library.block.xception import XceptionBlock
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.library.stem.deep import DeepStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.types import Image

PAPER = XceptionBlock.paper
INPUT = Image(3, 299, 299)


@published(
    "Xception",
    paper=PAPER,
    params=22_855_952,
    gmacs=8.36,
    source="paper: 22.86 M parameters; timm results, legacy_xception: 22.86 M, 8.40 GMACs",
    input=INPUT,
)
def xception(classes: int) -> Network:
    """Xception: entry, middle and exit flow."""
    entry = XceptionBlock(reps=2)
    return Network(
        stem=DeepStem(width=64, hidden=(32,), strides=(2, 1), padding="valid"),
        stages=(
            Stage(width=128, stride=2, block=XceptionBlock(reps=2, leading_activation=False)),
            Stage(width=256, stride=2, block=entry),
            Stage(width=728, stride=2, blocks=(entry, *(XceptionBlock(reps=3),) * 8)),
            Stage(width=1024, stride=2, block=XceptionBlock(reps=2, grow=2)),
            Stage(width=1536, block=OperatorLayer(operator=FactoredConv())),
            Stage(width=2048, block=OperatorLayer(operator=FactoredConv())),
        ),
        head=Classifier(classes=classes, dropout=0.5),
    )


def aligned_xception(middle: int, classes: int, doubled: bool = False) -> Network:
    """Strides in the convolutions, batch norm inside every separable one, three a block, `middle` blocks of 728.

    `doubled` puts another block in front of those that stride to 256 and 728 channels, at the resolution before.
    """
    operator = FactoredConv(inner_norm=True)
    block = XceptionBlock(reps=3, operator=operator, downsample="operator")
    last = OperatorLayer(operator=FactoredConv(inner_norm=True, inner_activation="relu"))
    return Network(
        stem=DeepStem(width=64, hidden=(32,), strides=(2, 1)),
        stages=(
            Stage(width=128, stride=2, block=block),
            *((Stage(width=256, block=block),) if doubled else ()),
            Stage(width=256, stride=2, block=block),
            *((Stage(width=728, block=block),) if doubled else ()),
            Stage(width=728, stride=2, depth=1 + middle, block=block),
            Stage(
                width=1024,
                stride=2,
                block=XceptionBlock(reps=3, grow=2, operator=operator, downsample="operator"),
            ),
            Stage(width=1536, depth=2, block=last),
            Stage(width=2048, block=last),
        ),
        head=Classifier(classes=classes),
    )


@published(
    "Xception-41 (aligned)",
    paper=PAPER,
    params=26_969_560,
    gmacs=9.2,
    source="timm results, xception41: 26.97 M parameters, 9.28 GMACs",
    input=INPUT,
)
def xception41(classes: int) -> Network:
    """Aligned Xception with 41 layers."""
    return aligned_xception(8, classes)


@published(
    "Xception-65 (aligned)",
    paper=PAPER,
    params=39_916_312,
    gmacs=13.85,
    source="timm results, xception65: 39.92 M parameters, 13.96 GMACs",
    input=INPUT,
)
def xception65(classes: int) -> Network:
    """Aligned Xception with 65 layers."""
    return aligned_xception(16, classes)


@published(
    "Xception-71 (aligned)",
    paper=PAPER,
    params=42_338_736,
    gmacs=17.95,
    source="timm results, xception71: 42.34 M parameters, 18.09 GMACs",
    input=INPUT,
)
def xception71(classes: int) -> Network:
    """Aligned Xception with 71 layers."""
    return aligned_xception(16, classes, doubled=True)
