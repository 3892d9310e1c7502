"""Zhou et al., 2019, Omni-Scale Feature Learning for Person Re-Identification."""

from __future__ import annotations

from archfront.space.library.block.omni_scale import OmniScale
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.embedding import Embedding
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Head
from archfront.space.types import Image

PAPER = OmniScale.paper
PERSON = Image(3, 256, 128)
ZOO = "the authors' model zoo, without the classifier of identities"
WIDTHS = (64, 256, 384, 512)


def gated(width: int) -> OmniScale:
    """A block of `width` channels; inside the gate a 16th of the streams' width, rounded down as the authors do."""
    inner = width // 4
    return OmniScale(gate=SqueezeExcite(ratio=max(1, inner // 16) / inner))


def backbone(multiplier: float, head: Head) -> Network:
    """Three stages of two blocks; a 1x1 convolution and average pooling end the first two."""
    stem, first, second, third = (int(width * multiplier) for width in WIDTHS)
    shrink = PlainConv(kernel=1, pool="average")
    return Network(
        stem=ConvStem(width=stem, kernel=7, pool=True),
        stages=(
            Stage(width=first, depth=2, block=gated(first)),
            Stage(width=first, stride=2, block=shrink),
            Stage(width=second, depth=2, block=gated(second)),
            Stage(width=second, stride=2, block=shrink),
            Stage(width=third, depth=2, block=gated(third)),
        ),
        head=head,
    )


def osnet(multiplier: float, length: int) -> Network:
    """The network for retrieval, which yields embeddings of `length` numbers."""
    return backbone(multiplier, Embedding(classes=length, features=int(512 * multiplier)))


@published("OSNet x1.0", paper=PAPER, params=2_169_508, gmacs=0.979, source=ZOO, input=PERSON, classes=512)
def osnet_x1_0(classes: int) -> Network:
    """OSNet."""
    return osnet(1.0, classes)


@published("OSNet x0.75", paper=PAPER, params=1_285_754, gmacs=0.572, source=ZOO, input=PERSON, classes=512)
def osnet_x0_75(classes: int) -> Network:
    """OSNet at 3/4 of the width."""
    return osnet(0.75, classes)


@published("OSNet x0.5", paper=PAPER, params=630_034, gmacs=0.273, source=ZOO, input=PERSON, classes=512)
def osnet_x0_5(classes: int) -> Network:
    """OSNet at half the width."""
    return osnet(0.5, classes)


@published("OSNet x0.25", paper=PAPER, params=201_864, gmacs=0.082, source=ZOO, input=PERSON, classes=512)
def osnet_x0_25(classes: int) -> Network:
    """OSNet at a quarter of the width."""
    return osnet(0.25, classes)


@published("OSNet x1.0 ImageNet", paper=PAPER, params=2_682_508, gmacs=1.5, source="the authors' code")
def osnet_imagenet(classes: int) -> Network:
    """OSNet as it is trained for classification."""
    head = PooledClassifier(classes=classes, features=512, hidden=512, hidden_norm="batch", activation="relu")
    return backbone(1.0, head)
