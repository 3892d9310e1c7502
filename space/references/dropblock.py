"""Ghiasi, Lin and Le, 2018, DropBlock: A regularization method for convolutional networks."""

from __future__ import annotations

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.regularised_bottleneck import RegularisedBottleneck
from archfront.space.library.gate.dropblock import DropBlock
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published


def block(stage: int) -> Bottleneck:
    """The block of one of four stages: the last two drop, the earlier of them a quarter as much."""
    if stage < 2:
        return Bottleneck()
    return RegularisedBottleneck(regulariser=DropBlock(rate=0.1 if stage == 3 else 0.025))


@published(
    "ResNet-50 + DropBlock",
    paper=DropBlock.paper,
    params=25_557_032,
    gmacs=4.089,
    source="those of ResNet-50: torchvision, weights table (num_params, GFLOPS); DropBlock has none of its own",
)
def resnet50_dropblock(classes: int) -> Network:
    """ResNet-50 with DropBlock in the last two stages, keep probability 0.9; the paper lets it grow over training."""
    return Network(
        stem=ConvStem(width=64, kernel=7, stride=2, pool=True),
        stages=tuple(
            Stage(width=256 * 2**i, depth=depth, stride=2 if i else 1, block=block(i))
            for i, depth in enumerate((3, 4, 6, 3))
        ),
        head=Classifier(classes=classes),
    )
