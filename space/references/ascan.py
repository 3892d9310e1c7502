"""Kag et al., 2024, AsCAN: networks written as one string of C (convolution) and T (transformer) a stage.

The paper gives no strings that add up to its parameters, and no code is public, so nothing is registered as a published
network: `ascan(("CCC", "CCT", "CCCTTT", "TT"))` makes one in its manner, `Space(where=asymmetric)` keeps to its rules.
"""

from __future__ import annotations

from itertools import pairwise

from archfront.space.architecture import Architecture
from archfront.space.errors import SpecError
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.downsample.pooling import PoolDownsample
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.mixer.relative_bias_attention import RelativeBiasAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references.unet import UNet, mirrored
from archfront.space.spec import Block

CONVOLUTION: Block = PreNormMBConv()
TRANSFORMER: Block = MetaFormer(mixer=RelativeBiasAttention(head_dim=32))
POOLED = PoolDownsample(pool="max", norm="none")
"""What stands in front of a stage that begins with attention: the maximum of tiles, projected."""


def stage(
    letters: str, width: int, stride: int = 2, convolution: Block = CONVOLUTION, transformer: Block = TRANSFORMER
) -> Stage:
    """The stage that a string over {C, T} writes: "CCT" is two convolutional blocks and a transformer block.

    Raises:
        SpecError: another letter, or none.
    """
    if not letters or set(letters) - set("CT"):
        raise SpecError(f"stage {letters!r}: expected letters C (convolution) and T (transformer), such as 'CCT'")
    blocks = tuple(convolution if letter == "C" else transformer for letter in letters)
    return Stage(width=width, stride=stride, downsample=POOLED if letters[0] == "T" else None, blocks=blocks)


def letters_of(stage: Stage) -> str:
    """The string that writes a stage: T for blocks around a mixer, C for all others."""
    return "".join("T" if isinstance(block, MetaFormer) else "C" for block in stage.blocks)


def broken_rule(strings: tuple[str, ...], interleaved: bool = False) -> str | None:
    """Which rule of the paper these stages break: no T in the first, never fewer T in a later one, C before T in each.

    Args:
        strings: of the stages.
        interleaved: whether C may follow T inside a stage, the paper's ablation.
    """
    counts = [letters.count("T") for letters in strings]
    if counts[0]:
        return f"stage 1 {strings[0]!r} holds T, but attention begins in stage 2 at the earliest"
    for number, (before, after) in enumerate(pairwise(counts), start=2):
        if after < before:
            return f"stage {number} {strings[number - 1]!r} holds fewer T than the stage before it, {before}"
    mixed = [letters for letters in strings if "TC" in letters]
    return f"stage {mixed[0]!r} holds C behind T" if mixed and not interleaved else None


def asymmetric(architecture: Architecture) -> bool:
    """Whether the stages of an architecture keep to the rules of the paper: a predicate for `Space(where=...)`."""
    stages = (stage for stage in architecture.network.stages if isinstance(stage, Stage))  # type: ignore[attr-defined]
    return broken_rule(tuple(map(letters_of, stages))) is None


def ascan(
    strings: tuple[str, ...] = ("CCC", "CCT", "CCCTTT", "TT"),
    classes: int = 1000,
    width: int = 64,
    convolution: Block = CONVOLUTION,
    transformer: Block = TRANSFORMER,
    ruled: bool = True,
) -> Network:
    """A stem at half the image, then stages that halve the map and double the width, then mean, layer norm and linear.

    Args:
        strings: of the stages.
        classes: number of scores.
        width: of the stem and the first stage.
        convolution: C: an inverted residual by default; `FusedMBConv` and `BasicBlock` are the alternatives.
        transformer: T: attention over the whole map with a bias for offsets, then a perceptron.
        ruled: refuse strings that break the rules; False for comparisons with networks that do.

    Raises:
        SpecError: the strings break a rule.
    """
    problem = broken_rule(strings) if ruled else None
    if problem:
        raise SpecError(f"{problem}; ruled=False allows it")
    return Network(
        stem=DoubleConvStem(width=width, hidden=width, strides=(2, 1), last_norm="none"),
        stages=tuple(
            stage(letters, width * 2**i, convolution=convolution, transformer=transformer)
            for i, letters in enumerate(strings)
        ),
        head=PooledClassifier(classes=classes, norm="layer"),
    )


def ascan_unet(
    strings: tuple[str, ...] = ("CC", "CT", "CTT"),
    classes: int = 3,
    width: int = 64,
    convolution: Block = CONVOLUTION,
    transformer: Block = TRANSFORMER,
) -> UNet:
    """Stages down, the first at the size of the image, and their mirror image up: a map of `classes` scores.

    Raises:
        SpecError: the strings break a rule.
    """
    problem = broken_rule(strings)
    if problem:
        raise SpecError(problem)
    return mirrored(
        tuple(
            stage(letters, width * 2**i, 2 if i else 1, convolution, transformer) for i, letters in enumerate(strings)
        ),
        classes,
    )
