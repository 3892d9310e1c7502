"""Li et al., 2021, BossNAS: Exploring Hybrid CNN-transformers with Block-wisely Self-supervised Neural Architecture Search."""

from __future__ import annotations

from archfront.space.library.block.hytra import HyTraLayer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Gate

SCALES = ("c", "c", "cccac", "aaacaaaaa")
"""The layers of BossNet-T0 at each scale: c is ResConv, a is ResAtt."""


def bossnet(classes: int, activation: str, gate: Gate | None) -> Network:
    """The stem of ResNet and one fabric in which the first layer of every scale but the finest leads to it."""
    layers = tuple(
        HyTraLayer(
            core="conv" if core == "c" else "attention",
            down=scale > 0 and place == 0,
            activation=activation,  # type: ignore[arg-type]
            gate=gate,
            pool_shortcut=True,
        )
        for scale, cores in enumerate(SCALES)
        for place, core in enumerate(cores)
    )
    return Network(
        stem=ConvStem(width=64, kernel=7, stride=2, pool=True, activation=activation),  # type: ignore[arg-type]
        stages=(Stage(width=256, blocks=layers),),
        head=Classifier(classes=classes),
    )


@published(
    "BossNet-T0",
    paper=HyTraLayer.paper,
    params=38_415_960,
    gmacs=3.443,
    source="authors' code: 3.4 G multiply-adds; parameters counted from its list of layers",
)
def bossnet_t0(classes: int) -> Network:
    """BossNet-T0: squeeze-and-excitation in convolutional layers, SiLU."""
    return bossnet(classes, "silu", SqueezeExcite(ratio=1 / 16))


@published(
    "BossNet-T0 without SE",
    paper=HyTraLayer.paper,
    params=37_319_080,
    gmacs=3.442,
    source="authors' code: 3.4 G multiply-adds; parameters counted from its list of layers",
)
def bossnet_t0_without_se(classes: int) -> Network:
    """BossNet-T0 without gates, ReLU."""
    return bossnet(classes, "relu", None)
