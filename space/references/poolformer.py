"""Yu et al., 2022, MetaFormer Is Actually What You Need for Vision."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

WIDTHS = (64, 128, 320, 512)


def poolformer(depths: tuple[int, int, int, int], classes: int) -> Network:
    """Four stages of pooling blocks; a strided convolution without norm in front of all but the first."""
    block = MetaFormer(mixer=AveragePool(), norm="group1", layer_scale=1e-5)
    first, *others = zip(WIDTHS, depths, strict=True)
    return Network(
        stem=PatchStem(width=WIDTHS[0], patch=4, kernel=7, padding=2),
        stages=(
            Stage(width=first[0], depth=first[1], block=block),
            *(
                Stage(width=width, depth=depth, stride=2, downsample=ConvDownsample(norm="none"), block=block)
                for width, depth in others
            ),
        ),
        head=Classifier(classes=classes, norm="group1"),
    )


@published(
    "poolformer_s12",
    paper=MetaFormer.paper,
    params=11_915_176,
    gmacs=1.82,
    source="timm results, poolformer_s12: 11.92 M parameters, 1.82 GMACs",
)
def poolformer_s12(classes: int) -> Network:
    """PoolFormer-S12."""
    return poolformer((2, 2, 6, 2), classes)


@published(
    "poolformer_s24",
    paper=MetaFormer.paper,
    params=21_388_968,
    gmacs=3.41,
    source="timm results, poolformer_s24: 21.39 M parameters, 3.41 GMACs",
)
def poolformer_s24(classes: int) -> Network:
    """PoolFormer-S24."""
    return poolformer((4, 4, 12, 4), classes)


published(
    "poolformer_s36",
    paper=MetaFormer.paper,
    params=30_862_760,
    gmacs=5.0,
    source="timm results, poolformer_s36: 30.86 M parameters, 5.00 GMACs",
)(partial(poolformer, (6, 6, 18, 6)))
