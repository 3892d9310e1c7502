"""Accuracy of candidates that were trained on for a moment, each with a copy of its shared weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from .accuracy import SupernetAccuracy, fine_tune, rate
from .data import Split
from .supernet import calibrate
from .train import Recipe


@dataclass(frozen=True)
class TunedAccuracy:
    """Validation accuracy and loss of candidates after a short training that begins with a copy of the shared weights.

    Shared weights are a compromise that suits some architectures better than others; a few steps with weights of its own
    make up for much of that. Every candidate sees the same images in the same order, and nothing of the others. The
    shared weights stay as they are.

    Args:
        shared: what rates without tuning; gives the images for batch statistics and for validation.
        images: what is trained on.
        recipe: how.
        seed: of the order of images and their augmentation.
    """

    shared: SupernetAccuracy
    images: Split
    recipe: Recipe
    seed: int = 0

    metrics = ("supernet_accuracy", "supernet_loss")

    @property
    def calibration(self) -> list[Tensor]:
        """The batches from which batch statistics are computed."""
        return self.shared.calibration

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """`supernet_accuracy` and `supernet_loss` on the validation split.

        Raises:
            Diverged: the loss did.
        """
        shared = self.shared
        data = replace(shared.data, train=self.images.to(shared.supernet.device))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # for what modules draw themselves
            network = shared.supernet.extract(architecture)
            fine_tune(network, data, shared.task, self.recipe, seed=self.seed)
        calibrate(network, self.calibration)
        return rate(network, shared.validation, shared.task)
