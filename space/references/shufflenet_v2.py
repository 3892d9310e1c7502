"""Ma et al., 2018, ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.shuffle import Shuffle
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.references.resnet import TORCHVISION

DEPTHS = (4, 8, 4)


def shufflenet_v2(widths: tuple[int, int, int], features: int, classes: int) -> Network:
    """Three stages of 4, 8 and 4 units, each of which halves the map; then a convolution to `features` channels."""
    return Network(
        stem=ConvStem(width=24, pool=True),
        stages=tuple(
            Stage(width=width, depth=depth, stride=2, block=Shuffle())
            for width, depth in zip(widths, DEPTHS, strict=True)
        ),
        head=Classifier(classes=classes, features=features, norm="batch", activation="relu"),
    )


def register(name: str, params: int, gmacs: float, widths: tuple[int, int, int], features: int) -> None:
    """One network."""
    published(name, paper=Shuffle.paper, params=params, gmacs=gmacs, source=TORCHVISION)(
        partial(shufflenet_v2, widths, features)
    )


register("shufflenet_v2_x0.5", 1_366_792, 0.0404, (48, 96, 192), 1024)
register("shufflenet_v2_x1.0", 2_278_604, 0.145, (116, 232, 464), 1024)
register("shufflenet_v2_x1.5", 3_503_624, 0.296, (176, 352, 704), 1024)
register("shufflenet_v2_x2.0", 7_393_996, 0.583, (244, 488, 976), 2048)
