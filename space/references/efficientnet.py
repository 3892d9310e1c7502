"""Tan and Le, 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks."""

from __future__ import annotations

from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Paper

PAPER = Paper(
    title="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    authors="Mingxing Tan, Quoc V. Le",
    year=2019,
)

STAGES = (
    # expand, kernel, width, depth, stride
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def block(expand: int, kernel: int) -> MBConv:
    """An inverted residual whose gate has a quarter of the block's input width inside."""
    gate = SqueezeExcite(ratio=0.25 / expand, activation="silu")
    return MBConv(kernel=kernel, expand=expand, activation="silu", gate=gate)


@published(
    "efficientnet_b0",
    paper=PAPER,
    params=5_288_548,
    gmacs=0.386,
    source="torchvision, weights table (num_params, GFLOPS); paper: 5.3 M parameters, 0.39 G multiply-adds",
)
def efficientnet_b0(classes: int) -> Network:
    """EfficientNet-B0."""
    return Network(
        stem=ConvStem(width=32, activation="silu"),
        stages=tuple(
            Stage(width=width, depth=depth, stride=stride, block=block(expand, kernel))
            for expand, kernel, width, depth, stride in STAGES
        ),
        head=Classifier(classes=classes, features=1280, norm="batch", activation="silu", dropout=0.2),
    )
