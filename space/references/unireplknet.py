"""Zhang, Ding and Yue, 2024, Scaling Up Your Kernels: UniRepLKNet as it is deployed."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.unireplk import UniRepLK
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = UniRepLK.paper
Kernels = tuple[int, ...]


def unireplknet(width: int, kernels: tuple[Kernels, ...], classes: int, merged: bool = True) -> Network:
    """Four stages of `width`, 2 `width`, 4 `width` and 8 `width` channels, one kernel a block.

    Published figures are those of `merged`; training takes the other form.
    """
    first, *others = (
        tuple(UniRepLK(kernel=kernel, merged=merged) for kernel in stage)  # type: ignore[arg-type]
        for stage in kernels
    )
    return Network(
        stem=DoubleConvStem(width=width, norm="layer", last_norm="layer"),
        stages=(
            Stage(width=width, blocks=first),
            *(
                Stage(width=width * 2**i, stride=2, downsample=PatchDownsample(kernel=3), blocks=blocks)
                for i, blocks in enumerate(others, 1)
            ),
        ),
        head=PooledClassifier(classes=classes, norm="layer"),
    )


SMALL = ((3, 3), (13, 13), (13,) * 6, (13, 13))


@published(
    "UniRepLKNet-A",
    paper=PAPER,
    params=4_437_300,
    gmacs=0.64,
    source="the authors' table: 4.4 M parameters, 0.6 G; their code, merged",
)
def unireplknet_a(classes: int) -> Network:
    """UniRepLKNet-A."""
    return unireplknet(40, SMALL, classes)


@published(
    "UniRepLKNet-F",
    paper=PAPER,
    params=6_235_216,
    gmacs=0.905,
    source="the authors' table: 6.2 M parameters, 0.9 G; their code, merged",
)
def unireplknet_f(classes: int) -> Network:
    """UniRepLKNet-F."""
    return unireplknet(48, SMALL, classes)


@published(
    "UniRepLKNet-P",
    paper=PAPER,
    params=10_741_704,
    gmacs=1.573,
    source="the authors' table: 10.7 M parameters, 1.6 G; their code, merged",
)
def unireplknet_p(classes: int) -> Network:
    """UniRepLKNet-P."""
    return unireplknet(64, SMALL, classes)


@published(
    "UniRepLKNet-T",
    paper=PAPER,
    params=31_037_980,
    gmacs=4.9,
    source="the authors' table: 31 M parameters, 4.9 G; their code, merged",
)
def unireplknet_t(classes: int) -> Network:
    """UniRepLKNet-T."""
    return unireplknet(80, ((3,) * 3, (13,) * 3, (13, 3) * 9, (13,) * 3), classes)


published(
    "UniRepLKNet-N",
    paper=PAPER,
    params=18_318_560,
    gmacs=2.77,
    source="the authors' table: 18.3 M parameters, 2.8 G; their code, merged",
)(partial(unireplknet, 80, ((3, 3), (13, 13), (13,) * 8, (13, 13))))
published(
    "UniRepLKNet-S",
    paper=PAPER,
    params=55_645_984,
    gmacs=9.09,
    source="the authors' table: 56 M parameters, 9.1 G; their code, merged",
)(partial(unireplknet, 96, ((3,) * 3, (13,) * 3, (13, 3, 3) * 9, (13,) * 3)))
