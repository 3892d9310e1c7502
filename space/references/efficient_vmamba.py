"""Pei, Huang and Xu, 2025, EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba."""

from __future__ import annotations

from archfront.space.library.block.efficient_vss import EfficientVSS
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.downsample.patch_merging import PatchMerging
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = EfficientVSS.paper


def efficient_vmamba(width: int, depths: tuple[int, int, int, int], classes: int) -> Network:
    """Two stages of scans at high resolution, then two of inverted residuals."""
    convolution = MBConv(expand=4, activation="relu", gate=SqueezeExcite(ratio=0.125))
    blocks = (EfficientVSS(), EfficientVSS(), convolution, convolution)
    return Network(
        stem=PatchStem(width=width, norm="layer"),
        stages=tuple(
            Stage(
                width=width * 2**i,
                depth=depth,
                stride=2 if i else 1,
                downsample=PatchMerging() if i else None,
                block=block,
            )
            for i, (depth, block) in enumerate(zip(depths, blocks, strict=True))
        ),
        head=Classifier(classes=classes, norm="layer"),
    )


@published(
    "EfficientVMamba-T",
    paper=PAPER,
    params=6_493_660,
    gmacs=0.657,
    source="the authors' table: 6 M parameters, 0.8 G with about 9 operations for every step of a scan; their code",
)
def efficient_vmamba_t(classes: int) -> Network:
    """EfficientVMamba-T."""
    return efficient_vmamba(48, (2, 2, 4, 2), classes)


@published(
    "EfficientVMamba-S",
    paper=PAPER,
    params=11_273_688,
    gmacs=1.143,
    source="the authors' table: 11 M parameters, 1.3 G with about 9 operations for every step of a scan; their code",
)
def efficient_vmamba_s(classes: int) -> Network:
    """EfficientVMamba-S."""
    return efficient_vmamba(64, (2, 2, 4, 2), classes)


@published(
    "EfficientVMamba-B",
    paper=PAPER,
    params=33_717_136,
    gmacs=3.69,
    source="the authors' table: 33 M parameters, 4.0 G with about 9 operations for every step of a scan; their code",
)
def efficient_vmamba_b(classes: int) -> Network:
    """EfficientVMamba-B."""
    return efficient_vmamba(96, (2, 2, 9, 2), classes)
