"""Who rates the candidates of a search: a supernet that they share, or a training of each one alone."""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import cached_property

import torch
from torch import nn

from archfront.evaluators.accuracy import Evaluator, SupernetAccuracy
from archfront.evaluators.block_agreement import BlockAgreement
from archfront.evaluators.parallel import ALONE, Group, helped, most_processes
from archfront.evaluators.rules import Rule, rule_named
from archfront.evaluators.rules.bootstrapping import Bootstrapping
from archfront.evaluators.stand_alone import AloneAccuracy, StandAlone
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.train import Progress, Training
from archfront.evaluators.tuned import TunedAccuracy
from archfront.space.architecture import Architecture

from .config import recipe_in
from .rungs import Rungs
from .setting import Setting


class Raters:
    """The raters of a setting; the configuration says which one a search uses."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.config = setting.config

    @cached_property
    def evaluator(self) -> Evaluator:
        """Rates candidates, as configured."""
        return AloneAccuracy(self.alone, self.config.seed) if self.config.evaluator == "alone" else self.shared

    def network(self, architecture: Architecture) -> nn.Module:
        """A network with the weights that it was rated with."""
        if self.config.evaluator == "alone":
            return self.alone.network(architecture, self.config.seed)
        return self.supernet.extract(architecture, self.plain.calibration).cpu()

    # ------------------------------------------------------------------ shared weights

    @cached_property
    def supernet(self) -> Supernet:
        """The shared weights."""
        rule = rule_named(self.config.supernet.rule)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return rule.make_supernet(self.setting.space, self.config.seed, device)

    @cached_property
    def rule(self) -> Rule:
        """What trains the shared weights."""
        own = self.config.supernet
        return rule_named(own.rule)(
            self.supernet,
            self.setting.task,
            own.steps(len(self.setting.data.train)),
            bounds=self.setting.region.bounds,
            label_smoothing=own.label_smoothing,
            randoms=own.randoms,
            seed=self.config.seed,
        )

    @cached_property
    def shared(self) -> SupernetAccuracy | TunedAccuracy | BlockAgreement:
        """Rates candidates with the shared weights."""
        own, data = self.config.supernet, self.setting.data
        if isinstance(self.rule, Bootstrapping):
            return BlockAgreement(self.rule, data.validation)
        if not own.tuning_images:
            return self.plain
        images = data.train.take(torch.arange(min(own.tuning_images, len(data.train))))
        return TunedAccuracy(self.plain, images, recipe_in(own, epochs=1), self.config.seed)

    @cached_property
    def plain(self) -> SupernetAccuracy:
        """Rates candidates with the shared weights as they are."""
        images = self.config.supernet.calibration_images
        return SupernetAccuracy(self.supernet, self.setting.data, self.setting.task, images)

    def training(self) -> Training:
        """The training of the shared weights, as far as its checkpoint has it."""
        own, data, study = self.config.supernet, self.setting.data, self.setting.study
        return Training(
            self.rule.parameters,
            self.rule,
            data.train.to(self.supernet.device),
            own,
            seed=self.config.seed,
            checkpoint=study.checkpoint,
            identity=f"supernet/{study.facts['space']}/{data.fingerprint[:16]}",
            buffers=self.rule.buffers,
        )

    def train(self) -> None:
        """Train the shared weights, from where that was interrupted; nothing where they are trained already."""
        training = self.training()
        if training.done:
            return
        own, track = self.config.supernet, self.setting.reporter.track
        size = own.processes or most_processes(own.batch_size)
        if size > 1:
            self.setting.reporter.note(f"{size} processes train the supernet together; starting the others")
        command = [sys.executable, "-m", "archfront.search.along", str(self.setting.study.path)]
        with (
            helped(command, size, training.identity) as group,
            track("Training the supernet", training.total) as advance,
        ):
            self.train_in(group, training, lambda step, total, loss: advance(step, f"loss {loss:.2f}"))

    def train_in(self, group: Group, training: Training, progress: Progress | None = None) -> None:
        """Train together with others; the shared weights are equal in all processes of the group afterwards."""
        training.group = self.rule.group = group
        try:
            training.run(progress)
        finally:
            self.rule.group = ALONE

    # ------------------------------------------------------------------ alone

    @cached_property
    def alone(self) -> StandAlone:
        """Trains candidates one by one."""
        setting, own, folder = self.setting, self.config.alone, self.setting.study.path / "alone"
        rungs = Rungs(folder / "rungs", own.epochs, own.eta, setting.costs)
        return StandAlone(folder, setting.data, setting.task, recipe_in(own), stopping=rungs, keeps_weights=True)

    def begun(self, known: Collection[Architecture]) -> list[Architecture]:
        """Candidates whose training was interrupted, or ended without their becoming one of those known."""
        if self.config.evaluator != "alone":
            return []
        return self.alone.begun(self.config.seed, {architecture.digest for architecture in known})
