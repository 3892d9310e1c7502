"""Ready spaces: functions from an input type and a number of classes to a space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .domains import int_range, one_of
from .errors import SpaceError, nearest
from .library.block.mbconv import MBConv
from .library.block.metaformer import MetaFormer
from .library.gate.squeeze_excite import SqueezeExcite
from .library.head.classifier import Classifier
from .library.mixer.average_pool import AveragePool
from .library.mixer.large_kernel import LargeKernel
from .library.mixer.self_attention import SelfAttention
from .library.mixer.window_attention import WindowAttention
from .library.stem.convolution import ConvStem
from .network import Network, Stage
from .space import Space
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


def entry_stride(x: Feature, final: int, reductions: int) -> int:
    """The stride of the stem after which `reductions` halvings leave a map of about `final` pixels."""
    stride = 1
    while min(x.size) // (2 * stride) >= final * 2**reductions:
        stride *= 2
    return stride


@preset("small images (8 to 64 px) on a CPU or a board: inverted residuals early, convolution or attention late")
def micro(x: Feature, classes: int) -> Space:
    """Three stages; searches widths, depths, kernels, expansions, gates, and the operator of the last stage."""
    gate = one_of(None, SqueezeExcite())
    return Space(
        x,
        Network(
            stem=ConvStem(width=16, stride=entry_stride(x, 4, 2)),
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
    entry = entry_stride(x, 4, 3)

    def stage(widths: tuple[int, int, int], depth: int, stride: int) -> Stage:
        block = MBConv(kernel=one_of(3, 5, 7), expand=one_of(3.0, 4.0, 6.0), activation="hardswish", gate=gate)
        return Stage(width=one_of(*widths), depth=int_range(1, depth), stride=stride, block=block)

    return Space(
        x,
        Network(
            stem=ConvStem(width=one_of(16, 24), stride=entry),
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
            stem=ConvStem(width=one_of(16, 24), stride=entry_stride(x, 2, 3)),
            stages=(
                Stage(width=one_of(24, 32), depth=int_range(1, 2), block=convolution),
                Stage(width=one_of(48, 64), depth=int_range(1, 3), stride=2, block=convolution),
                Stage(width=one_of(96, 128), depth=int_range(1, 4), stride=2, block=one_of(convolution, attention)),
                Stage(width=one_of(160, 192), depth=int_range(1, 2), stride=2, block=one_of(convolution, attention)),
            ),
            head=Classifier(classes=classes),
        ),
    )
