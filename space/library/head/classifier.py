"""Classification by global average pooling and a linear layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.spec import Head, Paper, Positive, Probability
from archfront.space.types import Feature, Scores


class ClassifierHead(nn.Sequential):
    """Optional 1x1 convolution to `features` channels, normalisation, activation, global mean, dropout, linear."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        features: int | None = None,
        norm: str = "none",
        activation: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = features or in_channels
        self.conv = nn.Conv2d(in_channels, features, 1, bias=norm == "none") if features else nn.Identity()
        self.norm = make_norm(norm, width)
        self.act = make_activation(activation)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)


class Classifier(Head):
    """Feature (C, H, W) of any size to `classes` scores: W dropout(mean(act(norm(V x)))) + b.

    Args:
        classes: number of scores.
        features: width of the 1x1 convolution V in front (1280 in MobileNetV2 and EfficientNet); None leaves V out.
        norm: normalisation after V, or of the input: "batch" ends a pre-activation ResNet, "group1" a PoolFormer.
        activation: activation after the normalisation.
        dropout: probability of zeroing an entry of the pooled vector in training.

    Lin, Chen and Yan, 2014, Network In Network.
    """

    paper: ClassVar[Paper] = Paper(title="Network In Network", authors="Min Lin, Qiang Chen, Shuicheng Yan", year=2014)

    classes: Positive
    features: Positive | None = None
    norm: Literal["batch", "layer", "group1", "none"] = "none"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "none"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Scores:
        image(self, x)
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        image(self, x)
        return ClassifierHead(x.channels, self.classes, self.features, self.norm, self.activation, self.dropout)
