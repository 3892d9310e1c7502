"""Global response normalisation: channels compete by their energy over the map."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.spec import Gate, Paper
from archfront.space.types import Feature


class GlobalResponseNormalization(nn.Module):
    """Scales every channel by its energy relative to the mean energy of all channels; the identity at first."""

    def __init__(self, channels: int, shift: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels)) if shift else None

    def forward(self, x: Tensor) -> Tensor:
        one_each = (-1, *[1] * (x.ndim - 2))
        energy: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(2, x.ndim)), keepdim=True)
        response = energy / (energy.mean(1, keepdim=True) + self.eps)
        y = x + self.scale.reshape(one_each) * (x * response)
        return y if self.shift is None else y + self.shift.reshape(one_each)


class GlobalResponse(Gate):
    """x (1 + gamma n) + beta with n_c = g_c / mean(g) and g_c the L2 norm of channel c over all positions.

    gamma and beta are learnt numbers a channel, 0 at first, so that the gate starts as the identity; weight decay
    should leave them alone. The norm is taken over space and the mean over channels: a channel that is strong against
    the others is raised, whatever the level of all. The result depends on the size of the map, padding included.
    Takes any number of dimensions.

    Args:
        shift: whether there is a beta; networks merged for deployment do without.

    Woo et al., 2023, ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders.
    """

    paper: ClassVar[Paper] = Paper(
        title="ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
        authors="Sanghyun Woo, Shoubhik Debnath, Ronghang Hu, Xinlei Chen, Zhuang Liu, In So Kweon, Saining Xie",
        year=2023,
        key="convnext_v2",
    )

    shift: bool = True

    def build(self, x: Feature) -> nn.Module:
        return GlobalResponseNormalization(x.channels, self.shift)
