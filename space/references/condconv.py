"""Yang et al., 2019, CondConv: EfficientNet-B0 with conditional convolutions in its last three stages.

The authors count 391 M multiply-adds for EfficientNet-B0 itself, where everybody else finds 386 M, and with the same
excess of 1.3 % 402 M, 413 M and 614 M for these three.
"""

from __future__ import annotations

import math

from archfront.space.library.block.cond_mbconv import CondMBConv
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.references.efficientnet import STAGES

CONDITIONAL = (112, 192, 320)


def condconv(experts: int, classes: int, depth_factor: float = 1.0) -> Network:
    """EfficientNet-B0 with `experts` kernels in the stages of 112, 192 and 320 channels; depths rounded up."""

    def block(expand: int, kernel: int, width: int) -> MBConv:
        gate = SqueezeExcite(ratio=0.25 / expand, activation="silu")
        if width in CONDITIONAL:
            return CondMBConv(kernel=kernel, expand=expand, activation="silu", gate=gate, experts=experts)
        return MBConv(kernel=kernel, expand=expand, activation="silu", gate=gate)

    return Network(
        stem=ConvStem(width=32, activation="silu"),
        stages=tuple(
            Stage(
                width=width,
                depth=math.ceil(depth * depth_factor),
                stride=stride,
                block=block(expand, kernel, width),
            )
            for expand, kernel, width, depth, stride in STAGES
        ),
        head=Classifier(classes=classes, features=1280, norm="batch", activation="silu", dropout=0.25),
    )


@published(
    "CondConv-EfficientNet-B0 (4 experts)",
    paper=CondMBConv.paper,
    params=13_314_116,
    gmacs=None,
    source="authors' table: 13.3 M parameters, 402 M multiply-adds; timm results, tf_efficientnet_cc_b0_4e: 13.31 M",
)
def condconv_b0_4(classes: int) -> Network:
    """EfficientNet-B0 with four experts."""
    return condconv(4, classes)


@published(
    "CondConv-EfficientNet-B0 (8 experts)",
    paper=CondMBConv.paper,
    params=24_013_284,
    gmacs=None,
    source="authors' table: 24.0 M parameters, 413 M multiply-adds; timm results, tf_efficientnet_cc_b0_8e: 24.01 M",
)
def condconv_b0_8(classes: int) -> Network:
    """EfficientNet-B0 with eight experts."""
    return condconv(8, classes)


@published(
    "CondConv-EfficientNet-B0-depth (8 experts)",
    paper=CondMBConv.paper,
    params=39_715_968,
    gmacs=None,
    source="authors' table: 39.7 M parameters, 614 M multiply-adds; timm results, tf_efficientnet_cc_b1_8e: 39.72 M",
)
def condconv_b0_depth_8(classes: int) -> Network:
    """EfficientNet-B0 with eight experts and 1.1 times the depth."""
    return condconv(8, classes, depth_factor=1.1)
