"""Tan and Le, 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks."""

from __future__ import annotations

import math
from functools import partial

from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.references.mobilenet_v2 import multiple_of_8
from archfront.space.references.resnet import TORCHVISION
from archfront.space.spec import Paper
from archfront.space.types import Image

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


def efficientnet(width_factor: float, depth_factor: float, classes: int, dropout: float = 0.2) -> Network:
    """The stages of B0 with widths times one factor, to multiples of 8, and depths times another, rounded up."""
    return Network(
        stem=ConvStem(width=multiple_of_8(32 * width_factor), activation="silu"),
        stages=tuple(
            Stage(
                width=multiple_of_8(width * width_factor),
                depth=math.ceil(depth * depth_factor),
                stride=stride,
                block=block(expand, kernel),
            )
            for expand, kernel, width, depth, stride in STAGES
        ),
        head=Classifier(
            classes=classes,
            features=multiple_of_8(1280 * width_factor),
            norm="batch",
            activation="silu",
            dropout=dropout,
        ),
    )


@published(
    "efficientnet_b0",
    paper=PAPER,
    params=5_288_548,
    gmacs=0.386,
    source="torchvision, weights table (num_params, GFLOPS); paper: 5.3 M parameters, 0.39 G multiply-adds",
)
def efficientnet_b0(classes: int) -> Network:
    """EfficientNet-B0."""
    return efficientnet(1.0, 1.0, classes)


def register(name: str, params: int, gmacs: float, extent: int, width: float, depth: float, dropout: float) -> None:
    """A scaled network, for images of `extent` x `extent` pixels."""
    published(name, paper=PAPER, params=params, gmacs=gmacs, source=TORCHVISION, input=Image(3, extent, extent))(
        partial(efficientnet, width, depth, dropout=dropout)
    )


register("efficientnet_b1", 7_794_184, 0.687, 240, 1.0, 1.1, 0.2)
register("efficientnet_b2", 9_109_994, 1.088, 288, 1.1, 1.2, 0.3)
register("efficientnet_b3", 12_233_232, 1.827, 300, 1.2, 1.4, 0.3)
register("efficientnet_b4", 19_341_616, 4.394, 380, 1.4, 1.8, 0.4)
register("efficientnet_b5", 30_389_784, 10.266, 456, 1.6, 2.2, 0.4)
