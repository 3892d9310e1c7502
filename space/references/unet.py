"""Ronneberger et al., 2015, U-Net: an encoder, and a decoder that is its mirror image and sees all its maps.

It is no chain, since the maps of the encoder skip to the decoder: `UNet` is a composite of its own. Stages may hold any
blocks, so that `mirrored` makes such a network of any encoder. The paper gives no number of parameters, and nothing is
registered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.operator_layer import OperatorLayer
from archfront.space.library.common import image
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.downsample.pooling import PoolDownsample
from archfront.space.library.stem.plain import PlainStem
from archfront.space.library.upsample.interpolate import Interpolate
from archfront.space.network import Composite, Part, Stage
from archfront.space.spec import Block, Downsample, Gate, Stem, Upsample
from archfront.space.types import Feature


class UNetModule(nn.Module):
    """Stages down, then stages up, each of which also reads what the stage of its size yielded on the way down."""

    def __init__(
        self,
        stem: nn.Module,
        encoder: tuple[nn.Module, ...],
        enlarge: tuple[nn.Module, ...],
        decoder: tuple[nn.Module, ...],
        last: nn.Module,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.encoder = nn.ModuleList(encoder)
        self.enlarge = nn.ModuleList(enlarge)
        self.decoder = nn.ModuleList(decoder)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        for skipped, enlarge, stage in zip(maps[-2::-1], self.enlarge, self.decoder, strict=True):
            raised = enlarge(x)[:, :, : skipped.shape[2], : skipped.shape[3]]
            x = stage(torch.cat((skipped, raised), 1))
        y: Tensor = self.last(x)
        return y


class UNet(Composite):
    """x_0 = stem(x), x_i = E_i(x_{i-1}); from the last one up y <- D_i([x_i, U y]), where y starts as the last x_i.

    U enlarges to the size of x_i, to its width, and is cut where that is odd. The result is `last` of the last y, a map
    of scores of the size of the first stage.

    Args:
        stem: image to features.
        encoder: stages; all but the first stride by 2.
        enlarge: U; its width and stride are set by the stages.
        decoder: stages, coarsest first, one fewer than in the encoder.
        last: features to scores.
    """

    stem: Stem
    encoder: tuple[Stage, ...]
    enlarge: Upsample
    decoder: tuple[Stage, ...]
    last: Downsample

    def parts(self, x: Feature) -> list[Part]:
        if len(self.decoder) != len(self.encoder) - 1:
            raise ShapeError(f"{len(self.encoder)} stages need {len(self.encoder) - 1} behind them", "decoder")
        parts = [Part("stem", self.stem, image(self, x))]
        y = image(self, self.stem.output(x))
        maps = []
        for i, stage in enumerate(self.encoder):
            parts.append(Part(f"encoder[{i}]", stage, y))
            y = image(stage, stage.output(y))
            maps.append(y)
        for i, (skipped, stage) in enumerate(zip(maps[-2::-1], self.decoder, strict=True)):
            if y != skipped.at(y.channels, 2):
                raise ShapeError(
                    f"yields {y} behind {skipped}; stages must stride by 2", f"encoder[{len(maps) - 1 - i}]"
                )
            enlarge = self.enlarge.at(skipped.channels, 2)
            parts += [Part(f"enlarge[{i}]", enlarge, y), Part(f"decoder[{i}]", stage, skipped.at(2 * skipped.channels))]
            y = image(stage, stage.output(parts[-1].input))
        return [*parts, Part("last", self.last, y)]

    def output(self, x: Feature) -> Feature:
        last = self.parts(x)[-1]
        return image(self, last.spec.output(last.input))

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        stem, *inner, last = modules
        count = len(self.encoder)
        encoder, upward = inner[:count], inner[count:]
        return UNetModule(stem, tuple(encoder), tuple(upward[::2]), tuple(upward[1::2]), last)


def mirrored(
    encoder: tuple[Stage, ...],
    classes: int,
    stem: Stem | None = None,
    enlarge: Upsample = Interpolate(mode="bilinear"),  # noqa: B008 - immutable
) -> UNet:
    """The network whose decoder has the blocks of its encoder in reverse order; `classes` scores at every position.

    The stem is by default one 3x3 convolution at full size.
    """
    decoder = tuple(Stage(width=stage.width, blocks=stage.blocks[::-1]) for stage in encoder[-2::-1])
    return UNet(
        stem=stem or PlainStem(width=encoder[0].width, norm="batch"),
        encoder=encoder,
        enlarge=enlarge,
        decoder=decoder,
        last=ConvDownsample(width=classes, kernel=1, norm="none"),
    )


def unet(
    classes: int, width: int = 64, levels: int = 5, encoder_gate: Gate | None = None, decoder_gate: Gate | None = None
) -> UNet:
    """Two 3x3 convolutions a stage, maxima in front of all stages but the first; width doubles from stage to stage.

    The gates act on what every stage of the encoder, or of the decoder, yields.
    """

    def blocks(gate: Gate | None) -> tuple[Block, ...]:
        return OperatorLayer(), OperatorLayer(gate=gate)

    pool = PoolDownsample(norm="none")
    encoder = tuple(
        Stage(
            width=width * 2**i,
            stride=2 if i else 1,
            downsample=pool if i else None,
            blocks=blocks(encoder_gate),
        )
        for i in range(levels)
    )
    network = mirrored(encoder, classes)
    decoder = tuple(Stage(width=stage.width, blocks=blocks(decoder_gate)) for stage in network.decoder)
    return network.replaced({"decoder": decoder})
