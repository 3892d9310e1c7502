"""A small elastic space on the built-in digits, loaded once."""

from __future__ import annotations

import pytest
import torch

from archfront.evaluators.data import Dataset, load_data
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """One thread: the sums of several are not the same twice."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """A few hundred of the handwritten digits."""
    return load_data("digits", limit=400)


@pytest.fixture(scope="session")
def elastic(digits: Dataset) -> Space:
    """Width, depth, kernel, expansion, gate and operator to choose."""
    return Space(
        digits.input,
        Network(
            stem=ConvStem(width=one_of(8, 16), stride=1),
            stages=(
                Stage(
                    width=one_of(16, 24),
                    depth=int_range(1, 2),
                    block=MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0), gate=one_of(None, SqueezeExcite())),
                ),
                Stage(
                    width=32,
                    depth=int_range(1, 2),
                    stride=2,
                    block=one_of(MBConv(expand=2.0), MetaFormer(mixer=SelfAttention())),
                ),
            ),
            head=Classifier(classes=10),
        ),
    )
