"""Li et al., 2023, UniFormer: Unifying Convolution and Self-attention for Visual Recognition."""

from __future__ import annotations

from archfront.space.library.block.uniformer import UniFormer
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

WIDTHS = (64, 128, 320, 512)
LOCAL = UniFormer()
GLOBAL = UniFormer(mixer=SelfAttention(head_dim=64), norm="layer")


def uniformer(depths: tuple[int, int, int, int], classes: int) -> Network:
    """Two stages of local blocks and two of global ones, patches in front of each."""
    first, *others = zip(WIDTHS, depths, (LOCAL, LOCAL, GLOBAL, GLOBAL), strict=True)
    return Network(
        stem=PatchStem(width=WIDTHS[0], norm="layer"),
        stages=(
            Stage(width=first[0], depth=first[1], block=first[2]),
            *(
                Stage(width=width, depth=depth, stride=2, downsample=PatchDownsample(), block=block)
                for width, depth, block in others
            ),
        ),
        head=Classifier(classes=classes, norm="batch"),
    )


@published(
    "UniFormer-S",
    paper=UniFormer.paper,
    params=21_545_256,
    gmacs=3.63,
    source="paper: 22 M parameters, 3.6 G multiply-adds; the authors' code",
)
def uniformer_s(classes: int) -> Network:
    """UniFormer-S."""
    return uniformer((3, 4, 8, 3), classes)


@published(
    "UniFormer-B",
    paper=UniFormer.paper,
    params=49_776_552,
    gmacs=8.25,
    source="paper: 50 M parameters, 8.3 G multiply-adds; the authors' code",
)
def uniformer_b(classes: int) -> Network:
    """UniFormer-B."""
    return uniformer((5, 8, 20, 7), classes)


@published(
    "UniFormer-S+",
    paper=UniFormer.paper,
    params=24_032_552,
    gmacs=4.2,
    source="authors' repository, UniFormer-S with a dagger: 24 M parameters, 4.2 G",
)
def uniformer_s_plus(classes: int) -> Network:
    """UniFormer-S with overlapping convolutions in place of patches, heads of 32 channels and other depths."""
    attention = UniFormer(mixer=SelfAttention(head_dim=32), norm="layer")
    blocks = (LOCAL, LOCAL, attention, attention)
    return Network(
        stem=DoubleConvStem(width=WIDTHS[0]),
        stages=tuple(
            Stage(
                width=width,
                depth=depth,
                stride=2 if i else 1,
                downsample=PatchDownsample(kernel=3, norm="batch") if i else None,
                block=block,
            )
            for i, (width, depth, block) in enumerate(zip(WIDTHS, (3, 5, 9, 3), blocks, strict=True))
        ),
        head=Classifier(classes=classes, norm="batch"),
    )
