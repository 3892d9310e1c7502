"""Mobile convolution and attention in one block."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.common import Activation, image, kept
from archfront.space.library.layers import DropPath, LayerNorm2d
from archfront.space.library.mixer.relative_bias_attention import RelativeBiasAttention
from archfront.space.spec import ChannelMixer, Factor, Gate, Mixer, Odd, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class NormResidual(nn.Module):
    """A branch behind a layer norm, added to its input."""

    def __init__(self, channels: int, branch: nn.Module, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels, 1e-5)
        self.branch = branch
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.drop_path(self.branch(self.norm(x)))
        return y


class MobileAttention(nn.Module):
    """An inverted residual, residual mixing of positions and on request of channels, in the given order."""

    def __init__(
        self,
        conv: nn.Module,
        mixer: nn.Module,
        channel_mixer: nn.Module | None = None,
        mixer_first: bool = False,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.mixer = mixer
        self.channel_mixer = nn.Identity() if channel_mixer is None else channel_mixer
        self.mixer_first = mixer_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.mixer(x)) if self.mixer_first else self.mixer(self.conv(x))
        y: Tensor = self.channel_mixer(x)
        return y


class MOAT(StridedBlock):
    """x <- S x + P gate(act(BN(D act(BN(E BN(x)))))); x <- x + mixer(LN(x)): an inverted residual, then attention.

    The first half is `PreNormMBConv` without a gate: it widens and strides, and takes the place of the perceptron
    behind the attention in a transformer block. The stages in front of the attention hold `PreNormMBConv` itself.

    Args:
        kernel: extent of D, the depthwise convolution.
        expand: hidden width over output width.
        activation: act.
        gate: acts on the hidden width.
        mixer: over all positions with a bias for offsets; `WindowAttention` for large maps.
        order: which half comes first.
        channel_mixer: a third residual half behind a layer norm, for comparison; None in the paper.
        drop_path: probability of leaving out each of the branches of a sample in training.

    Yang et al., 2023, MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models.
    """

    paper: ClassVar[Paper] = Paper(
        title="MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models",
        authors="Chenglin Yang, Siyuan Qiao, Qihang Yu, Xiaoding Yuan, Yukun Zhu, Alan Yuille, Hartwig Adam, "
        "Liang-Chieh Chen",
        year=2023,
        key="moat",
    )

    kernel: Odd = 3
    expand: Factor = 4.0
    activation: Activation = "gelu"
    gate: Gate | None = None
    mixer: Mixer = RelativeBiasAttention()
    order: Literal["conv-mixer", "mixer-conv"] = "conv-mixer"
    channel_mixer: ChannelMixer | None = None
    drop_path: Probability = 0.0

    def _conv(self) -> PreNormMBConv:
        return PreNormMBConv(
            kernel=self.kernel,
            expand=self.expand,
            activation=self.activation,
            gate=self.gate,
            drop_path=self.drop_path,
            width=self.width,
            stride=self.stride,
        )

    def _mixed(self, x: Feature) -> Feature:
        """What the mixer is fed."""
        return x if self.order == "mixer-conv" else x.at(self.width, self.stride)

    def output(self, x: Feature) -> Feature:
        y = self._conv().output(image(self, x))
        kept("mixer", self.mixer, self._mixed(x))
        return y if self.channel_mixer is None else kept("channel_mixer", self.channel_mixer, y)

    def build(self, x: Feature) -> nn.Module:
        y, mixed = self.output(x), self._mixed(x)
        mixer = NormResidual(mixed.channels, self.mixer.build(mixed), self.drop_path)
        extra = self.channel_mixer
        return MobileAttention(
            self._conv().build(x),
            mixer,
            None if extra is None else NormResidual(y.channels, extra.build(y), self.drop_path),
            self.order == "mixer-conv",
        )
