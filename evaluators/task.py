"""Tasks: what is learned, how it is scored, and which network outputs fit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from archfront.hw_profiles.metrics import Measurement, Metric, metric
from archfront.space.errors import ArchfrontError, ShapeError
from archfront.space.types import FeatureType, Scores


class NonFiniteError(ArchfrontError, ArithmeticError):
    """A network gave NaN or infinite outputs: it diverged, and nothing it answers can be scored."""


class Tally(ABC):
    """Adds up the score of a task over batches."""

    @abstractmethod
    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch of network outputs."""

    @abstractmethod
    def measurement(self) -> Measurement:
        """The score so far."""


class Task(ABC):
    """What a network is to learn. Classification is one; segmentation or detection fit by another tally and loss."""

    @property
    @abstractmethod
    def target(self) -> FeatureType:
        """The type of output that a network for this task yields."""

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """What the tally measures."""

    @abstractmethod
    def tally(self) -> Tally:
        """A new tally, at zero."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The training loss, a mean over the batch."""

    @abstractmethod
    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
        """How far `student` outputs are from those of `teacher`, a mean over the batch; no gradient to the teacher."""

    def check(self, output: FeatureType) -> None:
        """Refuse a network whose output does not fit.

        Raises:
            ShapeError: names what the network yields and what the task takes.
        """
        if output != self.target:
            raise ShapeError(f"the network yields {output}, the task needs {self.target}{self.advice(output)}")

    def advice(self, output: FeatureType) -> str:
        """What to change, appended to the message of `check`."""
        return ""


@dataclass(frozen=True)
class Classification(Task):
    """One class an image; networks yield one logit a class."""

    classes: int

    @property
    def target(self) -> Scores:
        return Scores(self.classes)

    @property
    def metric(self) -> Metric:
        return metric("accuracy")

    def tally(self) -> Accuracy:
        return Accuracy()

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy. Targets are labels (N,), or shares of the classes (N, classes) as mixup makes them."""
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
        """T² KL(softmax(teacher / T) || softmax(student / T)), at temperature T.

        (Hinton, Vinyals & Dean, 2015, Distilling the Knowledge in a Neural Network)
        """
        soft = F.log_softmax(teacher.detach() / temperature, -1)
        answer = F.log_softmax(student / temperature, -1)
        return F.kl_div(answer, soft, reduction="batchmean", log_target=True) * temperature**2

    def advice(self, output: FeatureType) -> str:
        return (
            f": give the head classes={self.classes}" if isinstance(output, Scores) else ": end it in a classifier head"
        )


class Accuracy(Tally):
    """Share of images whose highest logit is that of their label."""

    def __init__(self) -> None:
        self.correct = 0
        self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch of logits (N, classes) against labels (N,).

        Raises:
            NonFiniteError: a logit is NaN or infinite.
        """
        if not bool(torch.isfinite(outputs).all()):
            raise NonFiniteError("the network's outputs are NaN or infinite: its training diverged")
        self.correct += int((outputs.argmax(-1) == targets).sum())
        self.count += len(targets)

    def measurement(self) -> Measurement:
        """The accuracy, a fraction, with how far its 95 % Wilson interval reaches, on the wider side."""
        if not self.count:
            raise ArchfrontError("no image was scored")
        value = self.correct / self.count
        low, high = wilson_interval(self.correct, self.count)
        return Measurement(value, "measured", max(value - low, high - value), self.count)


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a proportion at `z` standard errors, 95 % by default.

    Unlike the normal interval it holds near 0 and 1
    (Wilson, 1927, Probable Inference, the Law of Succession, and Statistical Inference)
    """
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return centre - half, centre + half
