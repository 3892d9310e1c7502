"""Sandler et al., 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks."""

from __future__ import annotations

from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

STAGES = (
    # expand, width, depth, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def multiple_of_8(width: float) -> int:
    """The multiple of 8 next to `width`, never below 90 % of it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


def mobilenet(multiplier: float, classes: int) -> Network:
    """MobileNetV2 with all widths times `multiplier`; the last one never shrinks."""
    return Network(
        stem=ConvStem(width=multiple_of_8(32 * multiplier), activation="relu6"),
        stages=tuple(
            Stage(width=multiple_of_8(width * multiplier), depth=depth, stride=stride, block=MBConv(expand=expand))
            for expand, width, depth, stride in STAGES
        ),
        head=Classifier(
            classes=classes,
            features=multiple_of_8(1280 * max(1.0, multiplier)),
            norm="batch",
            activation="relu6",
            dropout=0.2,
        ),
    )


@published(
    "mobilenetv2_1.0",
    paper=MBConv.paper,
    params=3_504_872,
    gmacs=0.301,
    source="torchvision, weights table (num_params, GFLOPS); paper: 3.4 M parameters, 300 M multiply-adds",
)
def mobilenetv2(classes: int) -> Network:
    """MobileNetV2."""
    return mobilenet(1.0, classes)


@published(
    "mobilenetv2_0.5",
    paper=MBConv.paper,
    params=1_968_680,
    gmacs=0.097,
    source="timm results, mobilenetv2_050: 1.97 M parameters; paper: 97 M multiply-adds",
)
def mobilenetv2_half(classes: int) -> Network:
    """MobileNetV2 at half the width."""
    return mobilenet(0.5, classes)


@published(
    "mobilenetv2_1.4",
    paper=MBConv.paper,
    params=6_108_776,
    gmacs=0.585,
    source="timm results, mobilenetv2_140: 6.11 M parameters; paper: 585 M multiply-adds",
)
def mobilenetv2_wide(classes: int) -> Network:
    """MobileNetV2 at 1.4 times the width."""
    return mobilenet(1.4, classes)
