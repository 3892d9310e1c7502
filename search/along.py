"""A process that trains a supernet along with the one that started it:

    python -m archfront.search.along STUDY RANK SIZE MEETING

Each is given its share of every batch, on the GPU with the number of its rank where there are GPUs. Nobody types this.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from archfront.evaluators.parallel import helping

from .progress import Silent
from .raters import Raters
from .setting import Setting
from .study import Study


def train_along(path: str, rank: int, size: int, meeting: Path) -> None:
    """Load what the study says, train with the others, and write nothing."""
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    study = Study.open(path)
    raters = Raters(Setting(study, study.config, Silent()))
    training = raters.training()
    with helping(training.identity, rank, size, meeting) as group:
        raters.train_in(group, training)


if __name__ == "__main__":
    train_along(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
