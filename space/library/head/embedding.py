"""An embedding of the image: a vector that is compared with others."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation
from archfront.space.spec import Head, Paper, Positive
from archfront.space.types import Feature, Scores


class EmbeddingHead(nn.Sequential):
    """Optional 1x1 convolution to `features` channels with batch norm and ReLU, global mean, linear, batch norm, ReLU."""

    def __init__(self, in_channels: int, length: int, features: int | None = None, activation: str = "relu") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, features, 1, bias=False) if features else nn.Identity()
        self.conv_norm = nn.BatchNorm2d(features) if features else nn.Identity()
        self.conv_act = nn.ReLU() if features else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(features or in_channels, length)
        self.norm = nn.BatchNorm1d(length)
        self.act = make_activation(activation)


class Embedding(Head):
    """Feature (C, H, W) of any size to `classes` numbers: act(BN(W mean(ReLU(BN(V x))) + b)), V a 1x1 convolution.

    Images of one identity shall have close embeddings, by cosine or Euclidean distance: what a retrieval network is
    used for once the classifier of the training identities is gone.

    Args:
        classes: length of the embedding.
        features: width of V; None leaves V, its norm and its ReLU out.
        activation: act.

    Zhou et al., 2019, Omni-Scale Feature Learning for Person Re-Identification.
    """

    paper: ClassVar[Paper] = Paper(
        title="Omni-Scale Feature Learning for Person Re-Identification",
        authors="Kaiyang Zhou, Yongxin Yang, Andrea Cavallaro, Tao Xiang",
        year=2019,
        key="osnet",
    )

    classes: Positive
    features: Positive | None = None
    activation: Literal["none", "relu"] = "relu"

    def output(self, x: Feature) -> Scores:
        image(self, x)
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        image(self, x)
        return EmbeddingHead(x.channels, self.classes, self.features, self.activation)
