"""Zhu et al., 2019, Deformable ConvNets v2: More Deformable, Better Results: the backbone of its detectors."""

from __future__ import annotations

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.deform_conv import DeformConv
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published


@published(
    "ResNet-50 + DCNv2 (c3-c5)",
    paper=DeformConv.paper,
    params=26_428_295,
    gmacs=4.28,
    source="no count in the paper; ResNet-50 (25,557,032; 4.09 G) and the convolutions that predict offsets (871,263; "
    "0.19 G), sampling excluded",
)
def resnet50_dcn(classes: int) -> Network:
    """ResNet-50 whose 3x3 convolutions are deformable in all stages but the first."""
    return Network(
        stem=ConvStem(width=64, kernel=7, stride=2, pool=True),
        stages=tuple(
            Stage(
                width=256 * 2**i,
                depth=depth,
                stride=2 if i else 1,
                block=Bottleneck(operator=DeformConv() if i else Conv()),
            )
            for i, depth in enumerate((3, 4, 6, 3))
        ),
        head=Classifier(classes=classes),
    )
