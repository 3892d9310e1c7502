"""Li et al., 2022, Efficient Multi-order Gated Aggregation Network."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.normalization import Normalization
from archfront.space.library.channel_mixer.channel_aggregation import ChannelAggregation
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.multi_order_aggregation import MultiOrderAggregation
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = MultiOrderAggregation.paper


def moganet(widths: tuple[int, ...], depths: tuple[int, ...], classes: int) -> Network:
    """Four stages that end in batch norm; perceptrons eight times as wide in the first two, four times in the others."""
    stages = []
    for i, (width, depth, expand) in enumerate(zip(widths, depths, (8, 8, 4, 4), strict=True)):
        block = MetaFormer(
            mixer=MultiOrderAggregation(),
            channel_mixer=ChannelAggregation(expand=expand),
            norm="batch",
            layer_scale=1e-5,
        )
        stages.append(
            Stage(
                width=width,
                stride=1 if i == 0 else 2,
                downsample=None if i == 0 else PatchDownsample(kernel=3, norm="batch"),
                blocks=(*(block,) * depth, Normalization(norm="batch")),
            )
        )
    return Network(stem=DoubleConvStem(width=widths[0]), stages=tuple(stages), head=Classifier(classes=classes))


@published(
    "MogaNet-XT",
    paper=PAPER,
    params=2_956_066,
    gmacs=None,
    source="authors' repository: 3.0 M parameters; its 0.80 G holds more than convolutions and products, 0.782 G",
)
def moganet_xt(classes: int) -> Network:
    """MogaNet-XT."""
    return moganet((32, 64, 96, 192), (3, 3, 10, 2), classes)


@published(
    "MogaNet-S",
    paper=PAPER,
    params=25_335_675,
    gmacs=4.97,
    source="authors' repository: 25.3 M parameters, 4.97 G",
)
def moganet_s(classes: int) -> Network:
    """MogaNet-S."""
    return moganet((64, 128, 320, 512), (2, 3, 12, 2), classes)


published(
    "MogaNet-T",
    paper=PAPER,
    params=5_197_332,
    gmacs=None,
    source="authors' repository: 5.20 M parameters; its 1.10 G holds more than convolutions and products, 1.083 G",
)(partial(moganet, (32, 64, 128, 256), (3, 3, 12, 2)))
