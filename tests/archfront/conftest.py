"""One tiny search that really runs: 40 architectures, 300 digits, one epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from archfront import api
from archfront.api import Result

SPACE = """
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


def tiny(input, classes):
    block = MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0))
    stage = Stage(width=one_of(8, 12), depth=int_range(1, 2), block=block)
    return Space(input, Network(stem=ConvStem(width=8, stride=2), stages=(stage,), head=Classifier(classes=classes)))
"""

CONFIG = """
space = "tiny.py:tiny"
budget = "params<=2k"

[data]
limit = 300

[supernet]
epochs = 1

[search]
trials = 5
population = 4

[latency]
blocks = 30
calibration = 4
seconds = 4
processes = 1
final_seconds = 2

[final]
epochs = 1
members = 2
"""


def write_files(folder: Path) -> None:
    """The space and the configuration of a tiny study."""
    (folder / "tiny.py").write_text(SPACE)
    (folder / "study.toml").write_text(CONFIG)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a tiny space and configuration."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the finished study was made in."""
    folder = tmp_path_factory.mktemp("home")
    write_files(folder)
    return folder


@pytest.fixture(scope="session")
def searched(home: Path) -> Result:
    """A study carried to the end; not to be changed."""
    before = Path.cwd()
    os.chdir(home)
    try:
        return api.run(config="study.toml", study=home / "runs" / "tiny")
    finally:
        os.chdir(before)


@pytest.fixture
def at_home(searched: Result, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory is that of the finished study."""
    monkeypatch.chdir(home)
    yield home
