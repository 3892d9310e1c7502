"""Further sizes of the reference families, against what their papers, authors' tables or the results of timm print."""

from __future__ import annotations

import pytest

from archfront.space.references import references

from .figures import size_and_cost

PRINTED: dict[str, tuple[str, float | None]] = {
    # millions of parameters; 10^9 multiply-adds, where the source counts what is counted here
    "SE-ResNet-34": ("21.96", 3.67),
    "SE-ResNet-101": ("49.33", None),
    "SE-ResNeXt-50 32x4d": ("27.56", 4.25),
    "SE-ResNeXt-101 32x4d": ("48.96", 8.0),
    "resnet101": ("44.55", 7.83),
    "tiny-MOAT-3": ("19.5", 4.5),
    "MOAT-1": ("41.6", None),
    "PVTv2-B3": ("45.24", 6.92),
    "PVT-Small": ("24.5", 3.8),
    "Res2Net-50 14w8s": ("25.06", 4.21),
    "Res2Net-50 26w6s": ("37.05", 6.33),
    "Res2Net-50 26w8s": ("48.40", 8.37),
    "Res2Net-101 26w4s": ("45.21", 8.10),
    "Xception-71 (aligned)": ("42.34", 18.09),
    "MogaNet-T": ("5.20", None),
    "ResNeSt-26d": ("17.07", 3.64),
    "ResNeSt-50d-1s4x24d": ("25.68", 4.43),
    "ResNeSt-101e": ("48.28", 13.38),
    "Next-ViT-B": ("44.82", 8.29),
    "UniFormer-S+": ("24", 4.2),
    "maxvit_nano_rw_256": ("15.45", 4.46),
    "maxvit_rmlp_nano_rw_256": ("15.50", 4.47),
    "maxvit_tiny_rw_224": ("29.06", 5.11),
    "UniRepLKNet-N": ("18.3", None),
    "UniRepLKNet-S": ("56", 9.1),
    "DLA-X-46-C": ("1.07", None),
    "DLA-X-60": ("17.35", 3.54),
    "DLA-102": ("33.27", 7.19),
    "DLA-X-102": ("26.31", 5.89),
    "DLA-169": ("53.39", 11.6),
    "WRN-40-2": ("2.2", None),
    "WRN-16-8": ("11.0", None),
    "WRN-22-8": ("17.2", None),
    "WRN-40-8": ("35.7", None),
    "WRN-28-12": ("52.5", None),
    "WRN-18-1.5": ("25.9", None),
    "WRN-18-2.0": ("45.6", None),
    "WRN-34-1.5": ("48.6", None),
    "EMOv2-20M": ("20", None),
    "EMOv2-50M": ("50", 8.8),
    "GhostNetV2 1.3x": ("8.96", None),
    "HRNet-W30-C": ("37.71", 8.15),
    "HRNet-W40-C": ("57.56", 12.75),
    "HorNet-S GF": ("50", 8.7),
    "ParCNetV2-B": ("56", 12.5),
    "ConViT-Ti+": ("10", None),
    "RedNet-38": ("12.39", None),
    "RedNet-101": ("25.65", None),
    "RaftMLP-M": ("21.4", 4.3),
    "SK-ResNet-34 (split)": ("22.28", 3.67),
    "ResNet-34 + CBAM": ("21.96", 3.672),
    "ResNet-101 + CBAM (stride on 1x1)": ("49.33", 7.581),
    "WRN-18-1.5 + CBAM": ("26.08", 3.868),
    "WRN-18-2.0 + CBAM": ("45.97", 6.697),
    "U-Swin-micro": ("4.4", None),
    "U-Swin-tiny": ("31.5", 4.91),
    "U-Swin-small": ("52.9", 9.18),
    "U-InternImage-tiny": ("30", None),
    "U-InternImage-small": ("50", None),
    "poolformer_s36": ("30.86", 5.0),
    "efficientnet_b1": ("7.79", 0.687),
    "efficientnet_b2": ("9.11", 1.088),
    "efficientnet_b3": ("12.23", 1.827),
    "efficientnet_b4": ("19.34", 4.394),
    "efficientnet_b5": ("30.39", 10.266),
    "mobilenetv3_large": ("5.48", 0.217),
    "mobilenetv3_small": ("2.54", 0.057),
}


@pytest.mark.parametrize("name", PRINTED)
def test_other_sizes_of_the_same_papers_have_their_published_figures_too(name: str) -> None:
    printed, gmacs = PRINTED[name]
    params, counted = size_and_cost(name)
    assert params == references[name].params
    assert f"{params / 1e6:.{len(printed.partition('.')[2])}f}" == printed
    for published in filter(None, (gmacs, references[name].gmacs)):
        assert counted == pytest.approx(published, rel=0.01)
