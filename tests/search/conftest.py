"""A tiny search: a space of a few dozen architectures on a few hundred digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archfront.search.config import DataConfig, FinalConfig, LatencyConfig, SearchConfig, StudyConfig, SupernetConfig
from archfront.search.engine import Search
from archfront.search.study import Study

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
    return quick(space_file, budget="params<=8k")


def quick(space_file: Path, **changes: Any) -> StudyConfig:
    """A search of the space `tiny` in a file that ends within seconds, with some settings changed."""
    settings: dict[str, Any] = {
        "space": f"{space_file}:tiny",
        "data": DataConfig(limit=300),
        "supernet": SupernetConfig(epochs=2, calibration_images=64),
        "search": SearchConfig(trials=12, population=4),
        "latency": LatencyConfig(blocks=24, calibration=4, seconds=2, processes=1, final_seconds=2),
        "final": FinalConfig(epochs=1, members=2),
    }
    return StudyConfig(**settings | changes)


TABLES: dict[str, bytes] = {}
"""The latency tables that tests have measured, by space: those after them need not measure the same blocks again."""


def study_at(path: Path, config: StudyConfig) -> Study:
    """The study in a folder, with the latency table of its space where a test has measured that."""
    study = Study(path)
    if config.space in TABLES and not study.table_file.exists():
        path.mkdir(parents=True, exist_ok=True)
        study.table_file.write_bytes(TABLES[config.space])
    return study


def keep_table(search: Search) -> None:
    """Let later tests have the latency table of a search."""
    TABLES.setdefault(search.config.space, search.study.table_file.read_bytes())
