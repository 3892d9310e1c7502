"""Rao et al., 2022, HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.mixer.recursive_gated_conv import RecursiveGatedConv
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

DEPTHS = (2, 3, 18, 2)
ORDERS = (2, 3, 4, 5)


def hornet(width: int, classes: int, spectral: bool = False) -> Network:
    """Four stages of growing order; with `spectral` the last two filter the spectrum of half of their channels."""

    def stage(index: int) -> Stage:
        mixer = RecursiveGatedConv(
            order=ORDERS[index], filter="global_local" if spectral and index >= 2 else "depthwise"
        )
        return Stage(
            width=width * 2**index,
            depth=DEPTHS[index],
            stride=2 if index else 1,
            downsample=PatchDownsample(norm_first=True) if index else None,
            block=MetaFormer(mixer=mixer, layer_scale=1e-6),
        )

    return Network(
        stem=PatchStem(width=width, norm="layer"),
        stages=tuple(map(stage, range(4))),
        head=PooledClassifier(classes=classes, norm="layer"),
    )


@published(
    "HorNet-T 7x7",
    paper=RecursiveGatedConv.paper,
    params=22_409_512,
    gmacs=3.97,
    source="authors' repository: 22 M parameters, 4.0 G; counted on their code: 22.41 M, 3.97 G",
)
def hornet_tiny(classes: int) -> Network:
    """HorNet-T with depthwise 7x7 convolutions."""
    return hornet(64, classes)


@published(
    "HorNet-T GF",
    paper=RecursiveGatedConv.paper,
    params=22_991_848,
    gmacs=3.89,
    source="authors' repository: 23 M parameters, 3.9 G; counted on their code: 22.992 M, 3.89 G",
)
def hornet_tiny_spectral(classes: int) -> Network:
    """HorNet-T with global-local filters in the last two stages."""
    return hornet(64, classes, spectral=True)


@published(
    "HorNet-S 7x7",
    paper=RecursiveGatedConv.paper,
    params=49_528_264,
    gmacs=8.81,
    source="authors' repository: 50 M parameters, 8.8 G; counted on their code: 49.528 M, 8.81 G",
)
def hornet_small(classes: int) -> Network:
    """HorNet-S with depthwise 7x7 convolutions."""
    return hornet(96, classes)


published(
    "HorNet-S GF",
    paper=RecursiveGatedConv.paper,
    params=50_401_768,
    gmacs=8.69,
    source="authors' repository: 50 M parameters, 8.7 G",
)(partial(hornet, 96, spectral=True))
