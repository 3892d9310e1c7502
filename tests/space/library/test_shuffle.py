"""The unit of ShuffleNet V2 against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.shuffle import Shuffle
from archfront.space.types import Feature

X = Feature(8, (7, 5))


def built(spec: Shuffle) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return spec.build(X).double().eval(), X.example(2, dtype=torch.float64)[0]


def branch(module: nn.Module, x: Tensor) -> Tensor:
    return module.expand(module.depthwise(module.reduce(x)))


def test_half_of_the_channels_pass_and_end_between_the_others() -> None:
    module, x = built(Shuffle())
    y = module(x)
    torch.testing.assert_close(y[:, ::2], x[:, :4])
    torch.testing.assert_close(y[:, 1::2], branch(module, x[:, 4:]))


@pytest.mark.parametrize(("width", "stride"), [(12, 2), (8, 2), (12, 1)])
def test_where_the_type_changes_both_paths_see_all_channels(width: int, stride: int) -> None:
    module, x = built(Shuffle(width=width, stride=stride))
    y = module(x)
    assert y.shape[1:] == X.at(width, stride).shapes[0]
    torch.testing.assert_close(y[:, ::2], module.around(x))
    torch.testing.assert_close(y[:, 1::2], branch(module, x))


def test_odd_widths_have_no_halves() -> None:
    with pytest.raises(ShapeError, match="7 channels have no halves; use 6 or 8"):
        Shuffle(width=7).output(X)
