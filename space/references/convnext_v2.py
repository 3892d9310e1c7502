"""Woo et al., 2023, ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders."""

from __future__ import annotations

from archfront.space.library.block.convnext import ConvNeXt
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = ConvNeXt.paper


def convnext(width: int, depths: tuple[int, ...], classes: int, block: ConvNeXt | None = None) -> Network:
    """Four stages of `width`, 2 `width`, 4 `width` and 8 `width` channels behind patches of 4x4 pixels."""
    block = block or ConvNeXt()
    first, *others = depths
    return Network(
        stem=PatchStem(width=width, norm="layer"),
        stages=(
            Stage(width=width, depth=first, block=block),
            *(
                Stage(
                    width=width * 2**i,
                    depth=depth,
                    stride=2,
                    downsample=PatchDownsample(norm_first=True),
                    block=block,
                )
                for i, depth in enumerate(others, 1)
            ),
        ),
        head=PooledClassifier(classes=classes, norm="layer"),
    )


@published(
    "ConvNeXtV2-Atto",
    paper=PAPER,
    params=3_708_400,
    gmacs=0.547,
    source="paper: 3.7 M, 0.55 G; timm results, convnextv2_atto: 3.71 M parameters, 0.55 GMACs",
)
def convnextv2_atto(classes: int) -> Network:
    """ConvNeXt V2 Atto."""
    return convnext(40, (2, 2, 6, 2), classes)


@published(
    "ConvNeXtV2-Femto",
    paper=PAPER,
    params=5_233_240,
    gmacs=0.78,
    source="paper: 5.2 M, 0.78 G; timm results, convnextv2_femto: 5.23 M parameters, 0.79 GMACs",
)
def convnextv2_femto(classes: int) -> Network:
    """ConvNeXt V2 Femto."""
    return convnext(48, (2, 2, 6, 2), classes)


@published(
    "ConvNeXtV2-Pico",
    paper=PAPER,
    params=9_066_280,
    gmacs=1.367,
    source="paper: 9.1 M, 1.37 G; timm results, convnextv2_pico: 9.07 M parameters, 1.37 GMACs",
)
def convnextv2_pico(classes: int) -> Network:
    """ConvNeXt V2 Pico."""
    return convnext(64, (2, 2, 6, 2), classes)


@published(
    "ConvNeXtV2-Nano",
    paper=PAPER,
    params=15_623_800,
    gmacs=2.446,
    source="paper: 15.6 M, 2.45 G; timm results, convnextv2_nano: 15.62 M parameters, 2.46 GMACs",
)
def convnextv2_nano(classes: int) -> Network:
    """ConvNeXt V2 Nano."""
    return convnext(80, (2, 2, 8, 2), classes)


@published(
    "ConvNeXtV2-Tiny",
    paper=PAPER,
    params=28_635_496,
    gmacs=4.456,
    source="paper: 28.6 M, 4.47 G; timm results, convnextv2_tiny: 28.64 M parameters, 4.47 GMACs",
)
def convnextv2_tiny(classes: int) -> Network:
    """ConvNeXt V2 Tiny."""
    return convnext(96, (3, 3, 9, 3), classes)
