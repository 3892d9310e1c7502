"""Tu et al., 2022, MaxViT: Multi-Axis Vision Transformer."""

from __future__ import annotations

from typing import Literal

from archfront.space.library.block.maxvit import MaxViT
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.mixer.partition_attention import PartitionAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Head, Stem
from archfront.space.types import Image

PAPER = MaxViT.paper


def maxvit(stem: Stem, widths: tuple[int, ...], depths: tuple[int, ...], block: MaxViT, head: Head) -> Network:
    """Stages that all begin by halving the map."""
    return Network(
        stem=stem,
        stages=tuple(
            Stage(width=width, depth=depth, stride=2, block=block) for width, depth in zip(widths, depths, strict=True)
        ),
        head=head,
    )


@published(
    "MaxViT-T",
    paper=PAPER,
    params=30_916_528,
    gmacs=5.55,
    source="timm results, maxvit_tiny_tf_224: 30.92 M parameters, 5.60 GMACs with normalisations; paper: 31 M, 5.6 G",
)
def maxvit_t(classes: int) -> Network:
    """MaxViT-T."""
    window, grid = (PartitionAttention(partition=kind, extent=7, head_dim=32) for kind in ("window", "grid"))
    return maxvit(
        DoubleConvStem(width=64, hidden=64, strides=(2, 1), last_norm="none"),
        (64, 128, 256, 512),
        (2, 2, 5, 2),
        MaxViT(mixers=(window, grid)),
        PooledClassifier(classes=classes, norm="layer", hidden=512, activation="tanh"),
    )


def timm_maxvit(
    stem: tuple[int, int],
    width: int,
    depths: tuple[int, ...],
    extent: int,
    position: Literal["table", "mlp"],
    classes: int,
) -> Network:
    """The variant of timm: SiLU, expansion of the input width, no bias; a table or a perceptron of offsets."""
    convolution = PreNormMBConv(
        expand_of="input", activation="silu", gate=SqueezeExcite(ratio=1 / 16, activation="silu"), bias=False
    )
    window, grid = (
        PartitionAttention(partition=kind, extent=extent, head_dim=32, position=position) for kind in ("window", "grid")
    )
    return maxvit(
        DoubleConvStem(width=stem[1], hidden=stem[0], strides=(2, 1), activation="silu", last_norm="none", bias=False),
        tuple(width * 2**i for i in range(4)),
        depths,
        MaxViT(convolution=convolution, mixers=(window, grid)),
        Classifier(classes=classes, norm="layer"),
    )


TIMM = "timm results: {} M parameters, {} GMACs with normalisations"
IMAGE = Image(3, 256, 256)


@published(
    "maxvit_rmlp_pico_rw_256",
    paper=PAPER,
    params=7_515_980,
    gmacs=1.82,
    source=TIMM.format("7.52", "1.85"),
    input=IMAGE,
)
def maxvit_rmlp_pico(classes: int) -> Network:
    """A narrow network, with a perceptron of offsets."""
    return timm_maxvit((24, 32), 32, (2, 2, 5, 2), 8, "mlp", classes)


@published(
    "maxvit_nano_rw_256", paper=PAPER, params=15_451_148, gmacs=4.42, source=TIMM.format("15.45", "4.46"), input=IMAGE
)
def maxvit_nano(classes: int) -> Network:
    """A shallow network, with a table of offsets."""
    return timm_maxvit((32, 64), 64, (1, 2, 3, 1), 8, "table", classes)


@published(
    "maxvit_rmlp_nano_rw_256",
    paper=PAPER,
    params=15_501_452,
    gmacs=4.43,
    source=TIMM.format("15.50", "4.47"),
    input=IMAGE,
)
def maxvit_rmlp_nano(classes: int) -> Network:
    """A shallow network, with a perceptron of offsets."""
    return timm_maxvit((32, 64), 64, (1, 2, 3, 1), 8, "mlp", classes)


@published("maxvit_tiny_rw_224", paper=PAPER, params=29_057_312, gmacs=5.07, source=TIMM.format("29.06", "5.11"))
def maxvit_tiny_rw(classes: int) -> Network:
    """MaxViT-T in timm's variant."""
    return timm_maxvit((32, 64), 64, (2, 2, 5, 2), 7, "table", classes)
