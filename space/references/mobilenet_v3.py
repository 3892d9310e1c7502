"""Howard et al., 2019, Searching for MobileNetV3."""

from __future__ import annotations

from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.references.resnet import TORCHVISION
from archfront.space.spec import Paper

PAPER = Paper(
    title="Searching for MobileNetV3",
    authors="Andrew Howard, Mark Sandler, Grace Chu, Liang-Chieh Chen, Bo Chen, Mingxing Tan, Weijun Wang, Yukun Zhu, "
    "Ruoming Pang, Vijay Vasudevan, Quoc V. Le, Hartwig Adam",
    year=2019,
)
GATE = SqueezeExcite(ratio=0.25, gate="hardsigmoid", divisor=8)

Row = tuple[int, int, int, bool, bool, int]
"""Kernel, hidden width, width, whether gated, whether hard swish (otherwise ReLU), stride."""

LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
SMALL: tuple[Row, ...] = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def mobilenet_v3(rows: tuple[Row, ...], features: int, hidden: int, classes: int) -> Network:
    """Inverted residuals, one a row, then a convolution to `features` and, behind the mean, a layer to `hidden`."""
    stages, before = [], 16
    for kernel, expanded, width, gated, swish, stride in rows:
        block = MBConv(
            kernel=kernel,
            expand=expanded / before,
            activation="hardswish" if swish else "relu",
            gate=GATE if gated else None,
        )
        stages.append(Stage(width=width, stride=stride, block=block))
        before = width
    head = PooledClassifier(
        classes=classes,
        features=features,
        feature_activation="hardswish",
        hidden=hidden,
        activation="hardswish",
        dropout=0.2,
    )
    return Network(stem=ConvStem(width=16, activation="hardswish"), stages=tuple(stages), head=head)


@published("mobilenetv3_large", paper=PAPER, params=5_483_032, gmacs=0.217, source=TORCHVISION)
def mobilenetv3_large(classes: int) -> Network:
    """MobileNetV3-Large."""
    return mobilenet_v3(LARGE, 960, 1280, classes)


@published("mobilenetv3_small", paper=PAPER, params=2_542_856, gmacs=0.057, source=TORCHVISION)
def mobilenetv3_small(classes: int) -> Network:
    """MobileNetV3-Small."""
    return mobilenet_v3(SMALL, 576, 1024, classes)
