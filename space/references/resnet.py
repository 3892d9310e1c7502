"""He et al., 2016, Deep Residual Learning for Image Recognition: ImageNet networks, stride in the 3x3 convolution."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import StridedBlock

TORCHVISION = "torchvision, weights table (num_params, GFLOPS)"


def residual_network(block: StridedBlock, depths: tuple[int, ...], width: int, classes: int) -> Network:
    """Stages of `width`, 2 `width`, 4 `width` and 8 `width` channels behind a 7x7 stem with max-pooling."""
    return Network(
        stem=ConvStem(width=64, kernel=7, stride=2, pool=True),
        stages=tuple(
            Stage(width=width * 2**i, depth=depth, stride=1 if i == 0 else 2, block=block)
            for i, depth in enumerate(depths)
        ),
        head=Classifier(classes=classes),
    )


@published("resnet18", paper=BasicBlock.paper, params=11_689_512, gmacs=1.814, source=TORCHVISION)
def resnet18(classes: int) -> Network:
    """ResNet-18."""
    return residual_network(BasicBlock(), (2, 2, 2, 2), 64, classes)


@published("resnet34", paper=BasicBlock.paper, params=21_797_672, gmacs=3.664, source=TORCHVISION)
def resnet34(classes: int) -> Network:
    """ResNet-34."""
    return residual_network(BasicBlock(), (3, 4, 6, 3), 64, classes)


@published("resnet50", paper=Bottleneck.paper, params=25_557_032, gmacs=4.089, source=TORCHVISION)
def resnet50(classes: int) -> Network:
    """ResNet-50."""
    return residual_network(Bottleneck(), (3, 4, 6, 3), 256, classes)


published("resnet101", paper=Bottleneck.paper, params=44_549_160, gmacs=7.801, source=TORCHVISION)(
    partial(residual_network, Bottleneck(), (3, 4, 23, 3), 256)
)
