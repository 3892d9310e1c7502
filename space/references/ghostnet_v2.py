"""Tang et al., 2022, GhostNetV2: Enhance Cheap Operation with Long-Range Attention."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.ghost_bottleneck_v2 import GhostBottleneckV2
from archfront.space.library.gate.squeeze_excite import multiple
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.references.ghostnet import GATE, STAGES

WITHOUT_ATTENTION = 2
"""So many blocks at the entry do without attention."""


def ghostnet_v2(multiplier: float, classes: int) -> Network:
    """The stages of GhostNet with attention, all widths but that of the hidden layer times `multiplier`."""

    def width(channels: int) -> int:
        return multiple(multiplier * channels, 4)

    stages, before, seen = [], width(16), 0
    for channels, stride, rows in STAGES:
        blocks = []
        for kernel, hidden, gated in rows:
            block = GhostBottleneckV2(
                kernel=kernel,
                expand=width(hidden) / before,
                gate=GATE if gated else None,
                attention="none" if seen < WITHOUT_ATTENTION else "expand",
            )
            blocks.append(block)
            before, seen = width(channels), seen + 1
        stages.append(Stage(width=before, stride=stride, blocks=tuple(blocks)))
    return Network(
        stem=ConvStem(width=width(16)),
        stages=tuple(stages),
        head=PooledClassifier(classes=classes, features=width(960), hidden=1280, activation="relu", dropout=0.2),
    )


@published(
    "GhostNetV2 1.0x",
    paper=GhostBottleneckV2.paper,
    params=6_156_908,
    gmacs=0.167,
    source="timm results, ghostnetv2_100: 6.16 M parameters; paper: 6.1 M parameters, 167 M multiply-adds",
)
def ghostnet_v2_full(classes: int) -> Network:
    """GhostNetV2."""
    return ghostnet_v2(1.0, classes)


@published(
    "GhostNetV2 1.6x",
    paper=GhostBottleneckV2.paper,
    params=12_392_698,
    gmacs=0.399,
    source="timm results, ghostnetv2_160: 12.39 M parameters; paper: 12.3 M parameters, 399 M multiply-adds",
)
def ghostnet_v2_wide(classes: int) -> Network:
    """GhostNetV2 at 1.6 times the width."""
    return ghostnet_v2(1.6, classes)


published(
    "GhostNetV2 1.3x",
    paper=GhostBottleneckV2.paper,
    params=8_960_404,
    gmacs=0.269,
    source="timm results, ghostnetv2_130: 8.96 M parameters; paper: 8.9 M parameters, 269 M multiply-adds",
)(partial(ghostnet_v2, 1.3))
