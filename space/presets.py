"""Ready spaces: functions from an input type and a number of classes to a space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .cell import searched_cell
from .domains import int_range, one_of, tied
from .errors import SpaceError, nearest
from .library.block.absolute_position import AbsolutePosition
from .library.block.convnext import ConvNeXt
from .library.block.hytra import HyTraLayer
from .library.block.mbconv import MBConv
from .library.block.metaformer import MetaFormer
from .library.block.unireplk import UniRepLK
from .library.channel_mixer.feed_forward import FeedForward
from .library.gate.global_response import GlobalResponse
from .library.gate.squeeze_excite import SqueezeExcite
from .library.head.classifier import Classifier
from .library.head.pyramid_classifier import PyramidClassifier
from .library.mixer.atrous_scan import AtrousScan
from .library.mixer.average_pool import AveragePool
from .library.mixer.bilevel_routing import BiLevelRouting
from .library.mixer.conv_projection_attention import ConvProjectionAttention
from .library.mixer.deformable_aggregation import DeformableAggregation
from .library.mixer.dilated_reparam import DilatedReparam
from .library.mixer.glmix import GLMix
from .library.mixer.halo_attention import HaloAttention
from .library.mixer.identity import IdentityMixer
from .library.mixer.involution import InvolutionMixer
from .library.mixer.large_kernel import LargeKernel
from .library.mixer.local_affinity import LocalAffinity
from .library.mixer.locally_enhanced_attention import LocallyEnhancedAttention
from .library.mixer.multi_head_conv import MultiHeadConv
from .library.mixer.multi_order_aggregation import MultiOrderAggregation
from .library.mixer.non_local import NonLocal
from .library.mixer.oversized_conv import OversizedConv
from .library.mixer.partition_attention import PartitionAttention
from .library.mixer.pooled_token_attention import PooledTokenAttention
from .library.mixer.pooling_attention import PoolingAttention
from .library.mixer.projected import ProjectedMixer
from .library.mixer.raft_token_mixing import RaftTokenMixing
from .library.mixer.recursive_gated_conv import RecursiveGatedConv
from .library.mixer.self_attention import SelfAttention
from .library.mixer.spatial_reduction_attention import SpatialReductionAttention
from .library.mixer.window_attention import WindowAttention
from .library.operator.asymmetric import AsymmetricConv
from .library.operator.conv import Conv
from .library.operator.pool import Pool
from .library.operator.preactivated import Preactivated
from .library.operator.skip import Skip
from .library.operator.stacked_separable import StackedSeparable
from .library.stem.convolution import ConvStem
from .library.topology.cells import Cells
from .network import Network, Stage
from .space import Space
from .spec import Mixer, Positive
from .types import Feature


@dataclass(frozen=True)
class Preset:
    """A ready space: what it is for, and how it is made for an input type and a number of classes."""

    name: str
    purpose: str
    make: Callable[[Feature, int], Space]


PRESETS: dict[str, Preset] = {}


def preset(purpose: str) -> Callable[[Callable[[Feature, int], Space]], Callable[[Feature, int], Space]]:
    """Register a function as a ready space under its name."""

    def register(make: Callable[[Feature, int], Space]) -> Callable[[Feature, int], Space]:
        PRESETS[make.__name__] = Preset(make.__name__, purpose, make)
        return make

    return register


def preset_named(name: str) -> Preset:
    """The ready space called `name`."""
    if name not in PRESETS:
        raise SpaceError(f"unknown space {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]


def entry_stride(x: Feature, final: int, reductions: int, most: int = 4) -> int:
    """The stride, `most` at most, after which `reductions` halvings leave a map of about `final` pixels or more."""
    stride = 1
    while 2 * stride <= most and min(x.size) // (2 * stride) >= final * 2**reductions:
        stride *= 2
    return stride


def entry(width: Positive, stride: int) -> ConvStem:
    """A stem of `width` channels at `stride` whose kernel reads every pixel."""
    return ConvStem(width=width, kernel=max(3, 2 * stride - 1), stride=stride)


@preset("small images (8 to 64 px) on a CPU or a board: inverted residuals early, convolution or attention late")
def micro(x: Feature, classes: int) -> Space:
    """Three stages; searches widths, depths, kernels, expansions, gates, and the operator of the last stage."""
    gate = one_of(None, SqueezeExcite())
    return Space(
        x,
        Network(
            stem=entry(16, entry_stride(x, 4, 2)),
            stages=(
                Stage(
                    width=one_of(16, 24),
                    depth=int_range(1, 2),
                    block=MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 3.0), gate=gate),
                ),
                Stage(
                    width=one_of(32, 48),
                    depth=int_range(1, 3),
                    stride=2,
                    block=MBConv(kernel=one_of(3, 5), expand=one_of(2.0, 4.0), gate=gate),
                ),
                Stage(
                    width=one_of(64, 96),
                    depth=int_range(1, 3),
                    stride=2,
                    block=one_of(
                        MBConv(kernel=one_of(3, 5), expand=one_of(2.0, 4.0), gate=gate),
                        MetaFormer(mixer=one_of(SelfAttention(), LargeKernel(kernel=5), AveragePool())),
                    ),
                ),
            ),
            head=Classifier(classes=classes),
        ),
    )


@preset("phones and boards: inverted residuals with squeeze-excitation, in the manner of MobileNetV3 and EfficientNet")
def mobile(x: Feature, classes: int) -> Space:
    """Five stages; searches widths, depths, kernels, expansions and gates."""
    gate = one_of(None, SqueezeExcite())

    def stage(widths: tuple[int, int, int], depth: int, stride: int) -> Stage:
        block = MBConv(kernel=one_of(3, 5, 7), expand=one_of(3.0, 4.0, 6.0), activation="hardswish", gate=gate)
        return Stage(width=one_of(*widths), depth=int_range(1, depth), stride=stride, block=block)

    return Space(
        x,
        Network(
            stem=entry(one_of(16, 24), entry_stride(x, 4, 3)),
            stages=(
                Stage(width=16, block=MBConv(expand=1.0)),
                stage((24, 32, 40), 3, 2),
                stage((40, 48, 64), 3, 2),
                stage((80, 96, 112), 4, 1),
                stage((128, 160, 192), 3, 2),
            ),
            head=Classifier(classes=classes),
        ),
    )


@preset(
    "accuracy on images of 32 px and more: convolution in the early stages, convolution or attention in the late ones"
)
def hybrid(x: Feature, classes: int) -> Space:
    """Four stages; searches where attention starts, its kind, and the size of everything."""
    convolution = MBConv(
        kernel=one_of(3, 5), expand=one_of(3.0, 4.0), activation="silu", gate=one_of(None, SqueezeExcite())
    )
    attention = MetaFormer(mixer=one_of(SelfAttention(), WindowAttention(window=one_of(4, 7)), LargeKernel(kernel=7)))
    return Space(
        x,
        Network(
            stem=entry(one_of(16, 24), entry_stride(x, 2, 3)),
            stages=(
                Stage(width=one_of(24, 32), depth=int_range(1, 2), block=convolution),
                Stage(width=one_of(48, 64), depth=int_range(1, 3), stride=2, block=convolution),
                Stage(width=one_of(96, 128), depth=int_range(1, 4), stride=2, block=one_of(convolution, attention)),
                Stage(width=one_of(160, 192), depth=int_range(1, 2), stride=2, block=one_of(convolution, attention)),
            ),
            head=Classifier(classes=classes),
        ),
    )


@preset("accuracy without attention, 32 px and more: depthwise convolutions of 5x5 to 13x13 and of the size of the map")
def large_kernel(x: Feature, classes: int) -> Space:
    """Four stages of ConvNeXt-like blocks; searches kernels, how they are used, gates and the size of everything.

    The last two stages also choose among a plain large kernel, recursive gated convolutions (HorNet) and kernels as long
    as twice the map (ParCNetV2).
    """
    expand = one_of(2.0, 4.0)
    response = one_of(None, GlobalResponse())
    early = ConvNeXt(mixer=LargeKernel(kernel=one_of(5, 7, 9)), expand=expand, gate=response)
    wide = one_of(LargeKernel(kernel=one_of(7, 9, 13)), RecursiveGatedConv(), OversizedConv())
    late = one_of(
        ConvNeXt(mixer=wide, expand=expand, gate=response),
        UniRepLK(kernel=one_of(7, 13), expand=expand, reparam=False, layer_scale=None),
    )
    return Space(
        x,
        Network(
            stem=entry(one_of(24, 32), entry_stride(x, 2, 3)),
            stages=(
                Stage(width=one_of(24, 32, 48), depth=int_range(1, 2), block=early),
                Stage(width=one_of(48, 64, 96), depth=int_range(1, 3), stride=2, block=early),
                Stage(width=one_of(96, 128, 160), depth=int_range(1, 4), stride=2, block=late),
                Stage(width=one_of(160, 192, 256), depth=int_range(1, 2), stride=2, block=late),
            ),
            head=Classifier(classes=classes, norm="layer"),
        ),
    )


MIXERS: tuple[Mixer, ...] = (
    IdentityMixer(),
    AveragePool(),
    ProjectedMixer(mixer=LargeKernel(kernel=3)),
    ProjectedMixer(mixer=LargeKernel(kernel=7)),
    ProjectedMixer(mixer=DilatedReparam(kernel=9)),
    OversizedConv(),
    RecursiveGatedConv(),
    MultiOrderAggregation(),
    MultiHeadConv(),
    InvolutionMixer(),
    DeformableAggregation(),
    RaftTokenMixing(),
    AtrousScan(),
    LocalAffinity(),
    NonLocal(),
    SelfAttention(),
    WindowAttention(),
    WindowAttention(shift=True),
    PartitionAttention(partition="grid"),
    HaloAttention(),
    SpatialReductionAttention(pool=7),
    PooledTokenAttention(),
    PoolingAttention(),
    ConvProjectionAttention(),
    LocallyEnhancedAttention(),
    BiLevelRouting(),
    GLMix(),
)
"""What the `metaformer` space compares; each takes maps of any size from 2x2."""


@preset("comparing spatial mixers, 16 px and more: one pyramid of MetaFormer blocks, the same mixer in all of them")
def metaformer(x: Feature, classes: int) -> Space:
    """Four stages; searches the mixer, one of 26 for the whole network, and the size around it.

    Hu et al., 2025, Demystify Transformers & Convolutions in Modern Image Deep Networks, compare mixers like this: the
    rest of the network is the same, mixers without linear maps are given two, and depths make the budgets equal.
    """
    block = MetaFormer(mixer=tied("mixer", one_of(*MIXERS)), channel_mixer=FeedForward(expand=one_of(2.0, 4.0)))
    return Space(
        x,
        Network(
            stem=entry(32, entry_stride(x, 2, 3)),
            stages=(
                Stage(width=one_of(32, 48), depth=int_range(1, 2), block=block),
                Stage(width=one_of(64, 96), depth=int_range(1, 2), stride=2, block=block),
                Stage(width=one_of(128, 160), depth=int_range(1, 4), stride=2, block=block),
                Stage(width=one_of(192, 256), depth=int_range(1, 2), stride=2, block=block),
            ),
            head=Classifier(classes=classes, norm="layer"),
        ),
    )


@preset("vision transformers and their like, 8 px and more: patches, then blocks of one width on a map of one size")
def isotropic(x: Feature, classes: int) -> Space:
    """Patches with learnt positions, then blocks; searches width, depth, the mixer and the expansion of every block.

    The map has 8 to 15 positions along its shorter side, as patches 1, 2, 4, ... pixels apart allow. Patches overlap and
    are normalised: bare pixels or tiles hardly train within the epochs of a search.
    """
    width = tied("width", one_of(64, 96, 128, 192))
    patch = entry_stride(x, 8, 0, most=64)
    mixer = one_of(
        SelfAttention(),
        PartitionAttention(partition="window", extent=4),
        ProjectedMixer(mixer=LargeKernel(kernel=one_of(5, 9))),
        RaftTokenMixing(),
        AveragePool(),
    )
    block = MetaFormer(mixer=mixer, channel_mixer=FeedForward(expand=one_of(2.0, 3.0, 4.0)))
    return Space(
        x,
        Network(
            stem=entry(width, patch),
            stages=(
                Stage(width=width, block=AbsolutePosition()),
                Stage(width=width, depth=int_range(3, 8), block=block),
            ),
            head=Classifier(classes=classes, norm="layer"),
        ),
    )


@preset("finding cells to be stacked into networks of any size, 16 px and more, in the manner of NASNet")
def cells(x: Feature, classes: int) -> Space:
    """A normal and a reduction cell of four nodes, each repeated along a small network.

    Searches the sources and operators of every node, once for all cells of a kind, and the number of normal cells. What
    is found is carried over to large images by stacking more and wider cells: see `Cells`.
    """
    operator = one_of(
        Skip(),
        Pool(mode=one_of("average", "max")),
        StackedSeparable(kernel=one_of(3, 5, 7)),
        Preactivated(operator=one_of(Conv(kernel=1), AsymmetricConv(kernel=7))),
    )
    cell = searched_cell(4, operator)
    return Space(
        x,
        Network(
            stem=entry(32, entry_stride(x, 4, 2)),
            stages=(Cells(width=16, normal=cell, reduction=cell, repeats=int_range(1, 2)),),
            head=PyramidClassifier(classes=classes),
        ),
    )


@preset("finding where to downsample and where attention begins, 16 px and more: the HyTra fabric of BossNAS")
def hytra(x: Feature, classes: int) -> Space:
    """Four stages of up to four layers; each layer chooses convolution or attention, and whether to go to the next scale.

    There are four scales, from 32 channels to 256; attention is open to the two coarsest. A path may end at any of them.
    """
    stride, scales = entry_stride(x, 4, 3), 4
    coarse = x.at(stride=stride).at(stride=2 ** (scales - 2))
    layer = HyTraLayer(
        core=one_of("conv", "attention"),
        down=one_of(False, True),
        widest=32 * 2 ** (scales - 1),
        most_positions=coarse.size[0] * coarse.size[1],
    )
    stages = tuple(Stage(width=32, depth=int_range(2, 4), block=layer) for _ in range(4))
    return Space(x, Network(stem=entry(32, stride), stages=stages, head=Classifier(classes=classes)))
