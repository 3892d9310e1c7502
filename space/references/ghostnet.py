"""Han et al., 2020, GhostNet: More Features from Cheap Operations."""

from __future__ import annotations

from archfront.space.library.block.ghost_bottleneck import GhostBottleneck
from archfront.space.library.gate.squeeze_excite import SqueezeExcite, multiple
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

GATE = SqueezeExcite(ratio=0.25, gate="hardsigmoid", divisor=4)
STAGES: tuple[tuple[int, int, tuple[tuple[int, int, bool], ...]], ...] = (
    # width, stride, of every block: kernel, hidden width, gate
    (16, 1, ((3, 16, False),)),
    (24, 2, ((3, 48, False), (3, 72, False))),
    (40, 2, ((5, 72, True), (5, 120, True))),
    (80, 2, ((3, 240, False), (3, 200, False), (3, 184, False), (3, 184, False))),
    (112, 1, ((3, 480, True), (3, 672, True))),
    (160, 2, ((5, 672, True), (5, 960, False), (5, 960, True), (5, 960, False), (5, 960, True))),
)


def ghostnet(multiplier: float, classes: int) -> Network:
    """GhostNet with all widths but that of the hidden layer times `multiplier`, to multiples of 4."""

    def width(channels: int) -> int:
        return multiple(multiplier * channels, 4)

    stages, before = [], width(16)
    for channels, stride, rows in STAGES:
        blocks = []
        for kernel, hidden, gated in rows:
            expand = width(hidden) / before
            blocks.append(GhostBottleneck(kernel=kernel, expand=expand, gate=GATE if gated else None))
            before = width(channels)
        stages.append(Stage(width=before, stride=stride, blocks=tuple(blocks)))
    return Network(
        stem=ConvStem(width=width(16)),
        stages=tuple(stages),
        head=PooledClassifier(classes=classes, features=width(960), hidden=1280, activation="relu", dropout=0.2),
    )


@published(
    "GhostNet-0.5x",
    paper=GhostBottleneck.paper,
    params=2_587_292,
    gmacs=0.042,
    source="paper: 2.6 M parameters, 42 M multiply-adds; timm counts 2.59 M",
)
def ghostnet_half(classes: int) -> Network:
    """GhostNet at half the width."""
    return ghostnet(0.5, classes)


@published(
    "GhostNet-1.0x",
    paper=GhostBottleneck.paper,
    params=5_182_508,
    gmacs=0.141,
    source="timm results, ghostnet_100: 5.18 M parameters; paper: 5.2 M parameters, 141 M multiply-adds",
)
def ghostnet_full(classes: int) -> Network:
    """GhostNet."""
    return ghostnet(1.0, classes)


@published(
    "GhostNet-1.3x",
    paper=GhostBottleneck.paper,
    params=7_358_820,
    gmacs=0.226,
    source="paper: 7.3 M parameters, 226 M multiply-adds; timm counts 7.36 M",
)
def ghostnet_wide(classes: int) -> Network:
    """GhostNet at 1.3 times the width."""
    return ghostnet(1.3, classes)
