"""Xu et al., 2023, ParCNetV2: Oversized Kernel with Enhanced Attention."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.residual_scale_metaformer import ResidualScaleMetaFormer
from archfront.space.library.downsample.unit_norm_conv import UnitNormConvDownsample
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.mixer.oversized_conv import OversizedConv
from archfront.space.library.stem.unit_norm_patch import UnitNormPatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published


def parcnetv2(widths: tuple[int, int, int, int], depths: tuple[int, int, int, int], classes: int) -> Network:
    """Four stages of global kernels; the shortcuts of the last two are scaled."""
    return Network(
        stem=UnitNormPatchStem(width=widths[0]),
        stages=tuple(
            Stage(
                width=width,
                depth=depth,
                stride=2 if i else 1,
                downsample=UnitNormConvDownsample() if i else None,
                block=ResidualScaleMetaFormer(residual_scale=1.0 if i >= 2 else None),
            )
            for i, (width, depth) in enumerate(zip(widths, depths, strict=True))
        ),
        head=PooledClassifier(classes=classes, norm="layer"),
    )


@published(
    "ParCNetV2-XT",
    paper=OversizedConv.paper,
    params=7_427_720,
    gmacs=1.55,
    source="counted on the authors' code: 7.428 M parameters, 1.55 G",
)
def parcnetv2_extra_tiny(classes: int) -> Network:
    """ParCNetV2-XT."""
    return parcnetv2((48, 96, 192, 320), (3, 3, 9, 2), classes)


@published(
    "ParCNetV2-T",
    paper=OversizedConv.paper,
    params=24_935_144,
    gmacs=4.27,
    source="counted on the authors' code: 24.935 M parameters, 4.27 G",
)
def parcnetv2_tiny(classes: int) -> Network:
    """ParCNetV2-T."""
    return parcnetv2((64, 128, 320, 512), (3, 3, 12, 3), classes)


@published(
    "ParCNetV2-S",
    paper=OversizedConv.paper,
    params=39_436_520,
    gmacs=7.78,
    source="counted on the authors' code: 39.437 M parameters, 7.78 G",
)
def parcnetv2_small(classes: int) -> Network:
    """ParCNetV2-S."""
    return parcnetv2((64, 128, 320, 512), (3, 9, 24, 3), classes)


published(
    "ParCNetV2-B",
    paper=OversizedConv.paper,
    params=56_368_360,
    gmacs=12.49,
    source="authors' repository: 56 M parameters, 12.5 G",
)(partial(parcnetv2, (96, 192, 384, 576), (3, 9, 24, 3)))
