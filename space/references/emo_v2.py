"""Zhang et al., 2024, EMOv2: Pushing 5M Vision Model Frontier."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.inverted_mobile import InvertedMobile
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.separable import SeparableStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

Four = tuple[int, int, int, int]


def emo_v2(
    depths: Four, widths: Four, ratios: tuple[float, ...], head_dims: Four, classes: int, window: int = 7
) -> Network:
    """Two stages of convolutional blocks and two of attentive ones; all begin by halving the map."""
    stages = []
    for number, (depth, width, ratio, head_dim) in enumerate(zip(depths, widths, ratios, head_dims, strict=True)):
        if number < 2:
            block = InvertedMobile(operator="conv", expand=ratio, norm="batch", activation="silu")
        else:
            block = InvertedMobile(operator="hybrid", expand=ratio, head_dim=head_dim, window=window)
        stages.append(Stage(width=width, depth=depth, stride=2, block=block))
    return Network(
        stem=SeparableStem(width=widths[0] // 2),
        stages=tuple(stages),
        head=Classifier(classes=classes, norm="layer"),
    )


@published(
    "EMOv2-1M",
    paper=InvertedMobile.paper,
    params=1_460_844,
    gmacs=0.28,
    source="the authors' table: 1.4 M parameters, 285 M; their code",
)
def emo_v2_1m(classes: int) -> Network:
    """EMOv2-1M."""
    return emo_v2((2, 2, 8, 3), (32, 48, 80, 180), (2.0, 2.5, 3.0, 3.5), (16, 16, 20, 20), classes)


@published(
    "EMOv2-2M",
    paper=InvertedMobile.paper,
    params=2_384_312,
    gmacs=0.481,
    source="the authors' table: 2.3 M parameters, 487 M; their code",
)
def emo_v2_2m(classes: int) -> Network:
    """EMOv2-2M."""
    return emo_v2((3, 3, 9, 3), (32, 48, 120, 200), (2.0, 2.5, 3.0, 3.5), (16, 16, 20, 20), classes)


@published(
    "EMOv2-5M",
    paper=InvertedMobile.paper,
    params=5_126_440,
    gmacs=1.025,
    source="the authors' table: 5.1 M parameters, 1035 M; their code",
)
def emo_v2_5m(classes: int) -> Network:
    """EMOv2-5M."""
    return emo_v2((3, 3, 9, 3), (48, 72, 160, 288), (2.0, 3.0, 4.0, 4.0), (16, 24, 32, 32), classes)


published(
    "EMOv2-20M",
    paper=InvertedMobile.paper,
    params=20_195_208,
    gmacs=None,
    source="the authors' configuration; their network has about 20 M parameters",
)(partial(emo_v2, (3, 3, 13, 3), (64, 128, 320, 448), (2.0, 3.0, 4.0, 4.0), (16, 32, 32, 32)))
published(
    "EMOv2-50M",
    paper=InvertedMobile.paper,
    params=49_815_560,
    gmacs=None,
    source="the authors' configuration; their network has about 50 M parameters",
)(partial(emo_v2, (5, 8, 20, 7), (64, 128, 384, 512), (2.0, 3.0, 4.0, 4.0), (16, 32, 32, 32)))
