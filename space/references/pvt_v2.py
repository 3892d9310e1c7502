"""Wang et al., 2022, PVT v2: Improved Baselines with Pyramid Vision Transformer."""

from __future__ import annotations

from functools import partial

from archfront.space.library.channel_mixer.conv_feed_forward import ConvFeedForward
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.pvt_v1 import WIDTHS, pyramid

PAPER = ConvFeedForward.paper
SOURCE = "authors' repository: {} M parameters, {} G; timm results, {}: {} M, {} GMACs"


def pvt_v2(
    depths: tuple[int, ...],
    classes: int,
    widths: tuple[int, ...] = WIDTHS,
    expands: tuple[int, ...] = (8, 8, 4, 4),
    pool: int | None = None,
) -> Network:
    """Four stages of transformer blocks with overlapping patches and convolutions in the perceptrons."""
    return pyramid(
        depths,
        classes,
        widths=widths,
        expands=expands,
        pool=pool,
        overlapping=True,
        positions=False,
        convolving=True,
        normalising=True,
        class_token=False,
    )


@published(
    "PVTv2-B0",
    paper=PAPER,
    params=3_666_760,
    gmacs=0.566,
    source=SOURCE.format("3.7", "0.6", "pvt_v2_b0", "3.67", "0.57"),
)
def pvt_v2_b0(classes: int) -> Network:
    """PVT v2 B0."""
    return pvt_v2((2, 2, 2, 2), classes, widths=(32, 64, 160, 256))


@published(
    "PVTv2-B1",
    paper=PAPER,
    params=14_009_000,
    gmacs=2.108,
    source=SOURCE.format("14.0", "2.1", "pvt_v2_b1", "14.01", "2.12"),
)
def pvt_v2_b1(classes: int) -> Network:
    """PVT v2 B1."""
    return pvt_v2((2, 2, 2, 2), classes)


@published(
    "PVTv2-B2",
    paper=PAPER,
    params=25_362_856,
    gmacs=4.027,
    source=SOURCE.format("25.4", "4.0", "pvt_v2_b2", "25.36", "4.05"),
)
def pvt_v2_b2(classes: int) -> Network:
    """PVT v2 B2."""
    return pvt_v2((3, 4, 6, 3), classes)


@published(
    "PVTv2-B2-Li",
    paper=PAPER,
    params=22_553_512,
    gmacs=3.889,
    source=SOURCE.format("22.6", "3.9", "pvt_v2_b2_li", "22.55", "3.91"),
)
def pvt_v2_b2_li(classes: int) -> Network:
    """PVT v2 B2 with linear attention over 7x7 regions."""
    return pvt_v2((3, 4, 6, 3), classes, pool=7)


published(
    "PVTv2-B3",
    paper=PAPER,
    params=45_238_696,
    gmacs=6.897,
    source=SOURCE.format("45.2", "6.9", "pvt_v2_b3", "45.24", "6.92"),
)(partial(pvt_v2, (3, 4, 18, 3)))
