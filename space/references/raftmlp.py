"""Tatsunami and Taki, 2022, RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality?"""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.raft import RaftMLP
from archfront.space.library.downsample.multi_scale_patch import MultiScalePatchDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.multi_scale_patch import MultiScalePatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

DEPTHS = (2, 2, 6, 2)
SCALES = ((1, 2), (1, 2), (1, 2), (1,))


def raftmlp(widths: tuple[int, int, int, int], classes: int) -> Network:
    """Four stages of perceptrons; patches of two sizes in front of all but the last."""
    return Network(
        stem=MultiScalePatchStem(width=widths[0], scales=SCALES[0]),
        stages=tuple(
            Stage(
                width=width,
                depth=DEPTHS[i],
                stride=2 if i else 1,
                downsample=MultiScalePatchDownsample(scales=SCALES[i]) if i else None,
                block=RaftMLP(),
            )
            for i, width in enumerate(widths)
        ),
        head=Classifier(classes=classes, norm="layer"),
    )


@published(
    "RaftMLP-S",
    paper=RaftMLP.paper,
    params=9_868_768,
    gmacs=2.1,
    source="paper: 9.9 M parameters, 2.1 G; counted on the authors' configuration: 9.87 M",
)
def raftmlp_small(classes: int) -> Network:
    """RaftMLP-S."""
    return raftmlp((64, 128, 256, 512), classes)


@published(
    "RaftMLP-L",
    paper=RaftMLP.paper,
    params=36_184_672,
    gmacs=6.5,
    source="paper: 36.2 M parameters, 6.5 G",
)
def raftmlp_large(classes: int) -> Network:
    """RaftMLP-L."""
    return raftmlp((128, 192, 512, 1024), classes)


published("RaftMLP-M", paper=RaftMLP.paper, params=21_413_632, gmacs=4.3, source="paper: 21.4 M parameters, 4.3 G")(
    partial(raftmlp, (96, 192, 384, 768))
)
