"""Szegedy et al., 2017, Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning."""

from __future__ import annotations

from archfront.space.library.block.inception import Inception
from archfront.space.library.block.inception_residual import InceptionResidual
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.plain import PlainStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Block
from archfront.space.types import Image

PAPER = Inception.paper
INPUT = Image(3, 299, 299)

STEM = PlainStem(width=32, stride=2, padding="valid", norm="batch")
UNPADDED = PlainConv(padding="valid")

STEM_3A = Inception(branches=(("max",), ((96, 3, 3),)), padding="valid")
STEM_4A = Inception(
    branches=(((64, 1, 1), (96, 3, 3)), ((64, 1, 1), (64, 1, 7), (64, 7, 1), (96, 3, 3))), padding="valid"
)
STEM_5A = Inception(branches=(((192, 3, 3),), ("max",)), padding="valid")

INCEPTION_A = Inception(
    branches=(
        ("average", (96, 1, 1)),
        ((96, 1, 1),),
        ((64, 1, 1), (96, 3, 3)),
        ((64, 1, 1), (96, 3, 3), (96, 3, 3)),
    )
)
INCEPTION_B = Inception(
    branches=(
        ("average", (128, 1, 1)),
        ((384, 1, 1),),
        ((192, 1, 1), (224, 1, 7), (256, 7, 1)),
        ((192, 1, 1), (192, 7, 1), (224, 1, 7), (224, 7, 1), (256, 1, 7)),
    )
)
INCEPTION_C = Inception(
    branches=(
        ("average", (256, 1, 1)),
        ((256, 1, 1),),
        ((384, 1, 1), ((256, 1, 3), (256, 3, 1))),
        ((384, 1, 1), (448, 3, 1), (512, 1, 3), ((256, 1, 3), (256, 3, 1))),
    )
)


def reduction_a(k: int, l: int, m: int, n: int) -> Inception:  # noqa: E741 - the letters of the paper
    """From 35x35 to 17x17, with the paper's four widths."""
    return Inception(branches=(("max",), ((n, 3, 3),), ((k, 1, 1), (l, 3, 3), (m, 3, 3))), padding="valid")


REDUCTION_B = Inception(
    branches=(
        ("max",),
        ((192, 1, 1), (192, 3, 3)),
        ((256, 1, 1), (256, 1, 7), (320, 7, 1), (320, 3, 3)),
    ),
    padding="valid",
)


def reduced(width: int, reduction: Inception, block: Block, depth: int) -> Stage:
    """A stage that begins with a reduction."""
    return Stage(width=width, stride=2, blocks=(reduction, *(block,) * depth))


@published(
    "Inception-v4",
    paper=PAPER,
    params=42_679_816,
    gmacs=12.25,
    source="timm results, inception_v4: 42.68 M parameters, 12.28 GMACs with normalisations",
    input=INPUT,
)
def inception_v4(classes: int) -> Network:
    """Inception-v4; maps of 35, 17 and 8 pixels for images of 299."""
    return Network(
        stem=STEM,
        stages=(
            Stage(width=32, block=UNPADDED),
            Stage(width=64, block=PlainConv()),
            Stage(width=160, stride=2, block=STEM_3A),
            Stage(width=192, block=STEM_4A),
            reduced(384, STEM_5A, INCEPTION_A, 4),
            reduced(1024, reduction_a(192, 224, 256, 384), INCEPTION_B, 7),
            reduced(1536, REDUCTION_B, INCEPTION_C, 3),
        ),
        head=Classifier(classes=classes, dropout=0.2),
    )


MIXED_5B = Inception(
    branches=(
        ((96, 1, 1),),
        ((48, 1, 1), (64, 5, 5)),
        ((64, 1, 1), (96, 3, 3), (96, 3, 3)),
        ("average", (64, 1, 1)),
    )
)
RESIDUAL_A = InceptionResidual(
    branches=(((32, 1, 1),), ((32, 1, 1), (32, 3, 3)), ((32, 1, 1), (48, 3, 3), (64, 3, 3))), scale=0.17
)
RESIDUAL_B = InceptionResidual(branches=(((192, 1, 1),), ((128, 1, 1), (160, 1, 7), (192, 7, 1))), scale=0.1)
BRANCHES_C = (((192, 1, 1),), ((192, 1, 1), (224, 1, 3), (256, 3, 1)))
RESIDUAL_C = InceptionResidual(branches=BRANCHES_C, scale=0.2)
MIXED_7A = Inception(
    branches=(
        ((256, 1, 1), (384, 3, 3)),
        ((256, 1, 1), (288, 3, 3)),
        ((256, 1, 1), (288, 3, 3), (320, 3, 3)),
        ("max",),
    ),
    padding="valid",
)


@published(
    "Inception-ResNet-v2",
    paper=PAPER,
    params=55_843_464,
    gmacs=13.16,
    source="timm results, inception_resnet_v2: 55.84 M parameters, 13.18 GMACs with normalisations",
    input=INPUT,
)
def inception_resnet_v2(classes: int) -> Network:
    """Inception-ResNet-v2 with the plain stem of the released network."""
    last = InceptionResidual(branches=BRANCHES_C, scale=1.0, last_activation=False)
    return Network(
        stem=STEM,
        stages=(
            Stage(width=32, block=UNPADDED),
            Stage(width=64, stride=2, block=Inception(branches=(((64, 3, 3), "max"),), padding="valid")),
            Stage(width=80, block=PlainConv(kernel=1)),
            Stage(width=192, block=UNPADDED),
            Stage(width=192, stride=2, block=Inception(branches=(("max",),), padding="valid")),
            Stage(width=320, blocks=(MIXED_5B, *(RESIDUAL_A,) * 10)),
            reduced(1088, reduction_a(256, 256, 384, 384), RESIDUAL_B, 20),
            Stage(width=2080, stride=2, blocks=(MIXED_7A, *(RESIDUAL_C,) * 9, last)),
        ),
        head=Classifier(classes=classes, features=1536, norm="batch", activation="relu", dropout=0.2),
    )
