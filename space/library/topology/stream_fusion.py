"""What a network of parallel streams hands to a head."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common_pyramid import halving
from archfront.space.library.layers import ConvNormAct
from archfront.space.library.topology.stream_transition import StreamTransition
from archfront.space.spec import Paper, Positive, Topology
from archfront.space.types import Pyramid


class JoinedStreams(nn.Module):
    """All streams enlarged to the finest, laid together and projected; `levels` averages of the result over tiles."""

    def __init__(self, channels: int, width: int, levels: int = 1) -> None:
        super().__init__()
        self.project = ConvNormAct(channels, width, activation="relu")
        self.pools = nn.ModuleList(
            nn.AvgPool2d(2**i, ceil_mode=True, count_include_pad=False) if i else nn.Identity() for i in range(levels)
        )

    def forward(self, streams: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        finest, *others = streams
        size = finest.shape[2:]
        enlarged = [F.interpolate(x, size=size, mode="bilinear") for x in others]
        y = self.project(torch.cat((finest, *enlarged), 1))
        return tuple(pool(y) for pool in self.pools)


class StreamFusion(Topology):
    """Pyramid to a pyramid: y = relu(BN(W [x_1, U x_2, ..., U x_n])), W a 1x1 convolution, U bilinear enlargement.

    y alone leaves, as segmentation reads it (HRNetV2), or with `pyramid` y and its averages over tiles, one level for
    every stream, as detection reads it (HRNetV2p). Without this spec a head gets all streams, as classification does.

    Args:
        width: channels of y; None takes as many as all streams have together.
        pyramid: whether coarser levels follow y.

    Wang et al., 2020, Deep High-Resolution Representation Learning for Visual Recognition.
    """

    paper: ClassVar[Paper] = StreamTransition.paper

    width: Positive | None = None
    pyramid: bool = False

    def output(self, x: Pyramid) -> Pyramid:
        levels = halving(self, x)
        return Pyramid(tuple(level.at(self._width(x)) for level in (levels if self.pyramid else levels[:1])))

    def build(self, x: Pyramid) -> nn.Module:
        levels = self.output(x).levels
        return JoinedStreams(sum(level.channels for level in x.levels), self._width(x), len(levels))

    def _width(self, x: Pyramid) -> int:
        return self.width or sum(level.channels for level in x.levels)
