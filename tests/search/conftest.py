"""A tiny search: a space of a few dozen architectures on a few hundred digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfront.search.config import DataConfig, FinalConfig, LatencyConfig, SearchConfig, StudyConfig, SupernetConfig

SPACE = '''
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


def tiny(x, classes):
    """Few enough architectures to list."""
    return Space(
        x,
        Network(
            stem=ConvStem(width=8, stride=1),
            stages=(
                Stage(width=one_of(8, 16), depth=int_range(1, 2), block=MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0))),
                Stage(width=one_of(16, 24), stride=2, block=MBConv(expand=2.0)),
            ),
            head=Classifier(classes=classes),
        ),
    )
'''


@pytest.fixture(scope="session")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python file with the tiny space."""
    file = tmp_path_factory.mktemp("space") / "tiny_space.py"
    file.write_text(SPACE)
    return file


@pytest.fixture
def config(space_file: Path) -> StudyConfig:
    """A search that ends within seconds."""
    return StudyConfig(
        space=f"{space_file}:tiny",
        budget="params<=8k",
        data=DataConfig(limit=300),
        supernet=SupernetConfig(epochs=2, calibration_images=64),
        search=SearchConfig(trials=12, population=4),
        latency=LatencyConfig(blocks=24, calibration=4, seconds=4, processes=1, final_seconds=2),
        final=FinalConfig(epochs=1, members=2),
    )
