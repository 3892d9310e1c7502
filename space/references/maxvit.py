"""Tu et al., 2022, MaxViT: Multi-Axis Vision Transformer."""

from __future__ import annotations

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


@published(
    "maxvit_rmlp_pico_rw_256",
    paper=PAPER,
    params=7_515_980,
    gmacs=1.82,
    source="timm results: 7.52 M parameters, 1.85 GMACs with normalisations",
    input=Image(3, 256, 256),
)
def maxvit_rmlp_pico(classes: int) -> Network:
    """A variant of timm: a perceptron makes the position bias, and expansion is of the input width."""
    convolution = PreNormMBConv(
        expand_of="input", activation="silu", gate=SqueezeExcite(ratio=1 / 16, activation="silu"), bias=False
    )
    window, grid = (
        PartitionAttention(partition=kind, extent=8, head_dim=32, position="mlp") for kind in ("window", "grid")
    )
    return maxvit(
        DoubleConvStem(width=32, hidden=24, strides=(2, 1), activation="silu", last_norm="none", bias=False),
        (32, 64, 128, 256),
        (2, 2, 5, 2),
        MaxViT(convolution=convolution, mixers=(window, grid)),
        Classifier(classes=classes, norm="layer"),
    )
