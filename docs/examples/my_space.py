"""A block and a space of your own, outside archfront: archfront search --space my_space.py:my_space ..."""

from torch import Tensor, nn

from archfront.space import Block, Feature, Network, Odd, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


class StripResidual(nn.Module):
    """x + act(norm(P V H x)): H a depthwise 1 x k and V a depthwise k x 1 convolution, P a 1x1 convolution."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        pad = kernel // 2
        self.horizontal = nn.Conv2d(channels, channels, (1, kernel), padding=(0, pad), groups=channels, bias=False)
        self.vertical = nn.Conv2d(channels, channels, (kernel, 1), padding=(pad, 0), groups=channels, bias=False)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.mix(self.vertical(self.horizontal(x)))))
        return x + y


class Strip(Block):
    """A residual block that sees a k x k window through two strips; its type stays."""

    kernel: Odd = 7

    def build(self, x: Feature) -> nn.Module:
        return StripResidual(x.channels, self.kernel)


def my_space(x: Feature, classes: int) -> Space:
    """Two stages: strips of three sizes first, then strips or inverted residuals."""
    strip = Strip(kernel=one_of(3, 5, 7))
    return Space(
        input=x,
        network=Network(
            stem=ConvStem(width=one_of(16, 24), stride=1),
            stages=(
                Stage(width=one_of(16, 24), depth=int_range(1, 2), block=strip),
                Stage(width=one_of(32, 48), depth=int_range(1, 3), stride=2, block=one_of(strip, MBConv(expand=2.0))),
            ),
            head=Classifier(classes=classes),
        ),
    )
