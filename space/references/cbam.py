"""Woo et al., 2018, CBAM: Convolutional Block Attention Module: residual networks with the module on every branch.

The authors' code strides in the 3x3 convolutions; the multiply-adds of ResNet-50 in the paper's table are those of the
older network that strides in the 1x1 convolutions in front of them. Both stand here.
"""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.gate.cbam import CBAM
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.resnet import residual_network


@published(
    "ResNet-18 + CBAM",
    paper=CBAM.paper,
    params=11_779_392,
    gmacs=1.815,
    source="paper, table 4: 11.78 M parameters, 1.815 G multiply-adds",
)
def resnet18_cbam(classes: int) -> Network:
    """ResNet-18 with CBAM."""
    return residual_network(BasicBlock(gate=CBAM()), (2, 2, 2, 2), 64, classes)


@published(
    "ResNet-50 + CBAM",
    paper=CBAM.paper,
    params=28_089_624,
    gmacs=None,
    source="paper, table 4: 28.09 M parameters",
)
def resnet50_cbam(classes: int) -> Network:
    """ResNet-50 with CBAM, as in the authors' code."""
    return residual_network(Bottleneck(gate=CBAM()), (3, 4, 6, 3), 256, classes)


@published(
    "ResNet-50 + CBAM (stride on 1x1)",
    paper=CBAM.paper,
    params=28_089_624,
    gmacs=3.864,
    source="paper, table 4: 28.09 M parameters, 3.864 G multiply-adds",
)
def resnet50_cbam_v1(classes: int) -> Network:
    """ResNet-50 with CBAM, as in the paper's table."""
    return residual_network(Bottleneck(gate=CBAM(), stride_on="reduction"), (3, 4, 6, 3), 256, classes)


published(
    "ResNet-34 + CBAM",
    paper=CBAM.paper,
    params=21_960_468,
    gmacs=3.672,
    source="paper, table 4: 21.96 M parameters, 3.672 G multiply-adds",
)(partial(residual_network, BasicBlock(gate=CBAM()), (3, 4, 6, 3), 64))
published(
    "ResNet-101 + CBAM (stride on 1x1)",
    paper=CBAM.paper,
    params=49_330_172,
    gmacs=7.581,
    source="paper, table 4: 49.33 M parameters, 7.581 G multiply-adds",
)(partial(residual_network, Bottleneck(gate=CBAM(), stride_on="reduction"), (3, 4, 23, 3), 256))
published(
    "WRN-18-1.5 + CBAM",
    paper=CBAM.paper,
    params=26_075_516,
    gmacs=3.868,
    source="paper, table 4: 26.08 M parameters, 3.868 G multiply-adds",
)(partial(residual_network, BasicBlock(gate=CBAM()), (2, 2, 2, 2), 96))
published(
    "WRN-18-2.0 + CBAM",
    paper=CBAM.paper,
    params=45_971_256,
    gmacs=6.697,
    source="paper, table 4: 45.97 M parameters, 6.697 G multiply-adds",
)(partial(residual_network, BasicBlock(gate=CBAM()), (2, 2, 2, 2), 128))
