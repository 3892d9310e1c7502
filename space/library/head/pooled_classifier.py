"""Classification by layers behind the global mean."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation
from archfront.space.spec import Head, Paper, Positive, Probability
from archfront.space.types import Feature, Scores

Activation = Literal["none", "relu", "relu6", "silu", "gelu", "hardswish", "tanh"]


def vector_norm(name: str, width: int) -> nn.Module:
    """The normalisation called `name` for vectors (N, width); "none" gives the identity."""
    norms: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    return norms[name](width) if name != "none" else nn.Identity()


def vector_activation(name: str) -> nn.Module:
    """The activation called `name`."""
    return nn.Tanh() if name == "tanh" else make_activation(name)


class PooledClassifierHead(nn.Sequential):
    """1x1 convolution, global mean, normalisation, linear, normalisation, activation, dropout, linear.

    All but the mean and the last layer are optional.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        features: int | None = None,
        feature_activation: str = "relu",
        norm: str = "none",
        hidden: int | None = None,
        hidden_norm: str = "none",
        activation: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = features or in_channels
        self.conv = nn.Conv2d(in_channels, features, 1, bias=False) if features else nn.Identity()
        self.conv_norm = nn.BatchNorm2d(features) if features else nn.Identity()
        self.conv_act = make_activation(feature_activation if features else "none")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.norm = vector_norm(norm, width)
        self.hidden = nn.Linear(width, hidden) if hidden else nn.Identity()
        self.hidden_norm = vector_norm(hidden_norm if hidden else "none", hidden or width)
        self.act = vector_activation(activation if hidden else "none")
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden or width, classes)


class PooledClassifier(Head):
    """Feature (C, H, W) of any size to `classes` scores: W dropout(act(hidden_norm(V norm(mean(F x))))) + b.

    F is a 1x1 convolution with BN and activation, V a linear layer with bias; both may be left out.
    `norm="layer"` alone is the head of ConvNeXt, `norm="layer", hidden=C, activation="tanh"` that of MaxViT,
    `features=960, hidden=1280, activation="relu"` that of GhostNet.

    Args:
        classes: number of scores.
        features: width of F; None leaves it out.
        feature_activation: activation of F.
        norm: normalisation of the mean.
        hidden: width of V; None leaves it out, and with it its normalisation and activation.
        hidden_norm: normalisation after V.
        activation: act.
        dropout: probability of zeroing an entry in front of the last layer in training.

    Howard et al., 2019, Searching for MobileNetV3, moved layers behind the mean, where they cost little.
    """

    paper: ClassVar[Paper] = Paper(
        title="Searching for MobileNetV3",
        authors="Andrew Howard, Mark Sandler, Grace Chu, Liang-Chieh Chen, Bo Chen, Mingxing Tan, Weijun Wang, "
        "Yukun Zhu, Ruoming Pang, Vijay Vasudevan, Quoc V. Le, Hartwig Adam",
        year=2019,
    )

    classes: Positive
    features: Positive | None = None
    feature_activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"
    norm: Literal["batch", "layer", "none"] = "none"
    hidden: Positive | None = None
    hidden_norm: Literal["batch", "layer", "none"] = "none"
    activation: Activation = "none"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Scores:
        image(self, x)
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        image(self, x)
        return PooledClassifierHead(
            x.channels,
            self.classes,
            self.features,
            self.feature_activation,
            self.norm,
            self.hidden,
            self.hidden_norm,
            self.activation,
            self.dropout,
        )
