"""How well supernets order architectures: each training rule at equal time, next to counting and zero-cost proxies.

    python benchmarks/ranking.py --data CIFAR10 [--folder DIR] [--space hybrid] [--rules sandwich,fair] [--size 8] [--json FILE]
    python benchmarks/ranking.py --quick

Architectures spread over the range of multiply-adds, and others in a narrow band of it, are trained alone with two seeds.
Then one supernet a rule is trained, for as much time as the sandwich rule takes for its epochs, and rates them all.
Everything is kept in `--folder`; the same command goes on after an interruption, kill -9 included. Data are read with
`load_data`, so CIFAR10 may be the folder of its parquet files; `--quick` uses the built-in digits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import Figures, Run, main

from archfront.evaluators import audit
from archfront.evaluators.accuracy import Evaluator, SupernetAccuracy
from archfront.evaluators.block_agreement import BlockAgreement
from archfront.evaluators.data import Dataset, load_data
from archfront.evaluators.proxies import PROXIES, ProxyScores
from archfront.evaluators.rules import RULES
from archfront.evaluators.rules.bootstrapping import Bootstrapping
from archfront.evaluators.rules.rule import Rule
from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe, Training
from archfront.hw_profiles.cost import cost
from archfront.search.spread import spread_over_cost, within_band
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.architecture import Architecture
from archfront.space.files import write_text
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.types import Feature

BLOCK = MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0, 4.0), gate=one_of(None, SqueezeExcite()))


def mbconv(x: Feature, classes: int) -> Space:
    """Kernels, expansions, widths, depths and gates of inverted residuals; costs that differ about sixty times."""
    return three_stages(x, classes, BLOCK)


def hybrid(x: Feature, classes: int) -> Space:
    """The same with a choice of convolution or attention in the last stage."""
    return three_stages(x, classes, one_of(BLOCK, MetaFormer(mixer=SelfAttention())))


def three_stages(x: Feature, classes: int, last: Any) -> Space:
    """Three stages at the full, the half and a quarter of the size."""
    return Space(
        x,
        Network(
            stem=ConvStem(width=one_of(8, 16, 24), stride=1),
            stages=(
                Stage(width=one_of(8, 16, 24), depth=int_range(1, 2), block=BLOCK),
                Stage(width=one_of(16, 32, 48), depth=int_range(1, 3), stride=2, block=BLOCK),
                Stage(width=one_of(32, 64, 96), depth=int_range(1, 3), stride=2, block=last),
            ),
            head=Classifier(classes=classes),
        ),
    )


KINDS: Mapping[str, type[Rule]] = {**RULES, Bootstrapping.name: Bootstrapping}
"""Every rule, that without labels too."""

SPACES: Mapping[str, Callable[[Feature, int], Space]] = {"mbconv": mbconv, "hybrid": hybrid}


@dataclass(frozen=True)
class Plan:
    """How much is trained: images in all (two thirds train), pixels, networks, seeds, epochs."""

    images: int
    size: int
    spread: int
    narrow: int
    seeds: int
    alone: Recipe
    shared: Recipe


FULL = Plan(
    9000,
    16,
    24,
    12,
    2,
    Recipe(epochs=12, augment="flip", batch_size=64),
    Recipe(epochs=15, augment="flip", batch_size=64),
)
CHANGED = ("images", "size", "spread", "narrow")
"""What may be asked for in place of what `FULL` says."""

QUICK = Plan(600, 8, 6, 0, 2, Recipe(epochs=6), Recipe(epochs=4))


@dataclass
class Ranking:
    """One space on one set of images; what is trained is kept in `folder`."""

    space: Space
    data: Dataset
    plan: Plan
    folder: Path
    seed: int

    def __post_init__(self) -> None:
        self.task = Classification(len(self.data.classes))
        self.milliseconds: dict[str, float] = {}
        self.groups = {"spread": spread_over_cost(self.space, self.plan.spread, self.seed)}
        if self.plan.narrow:
            self.groups["narrow"] = within_band(self.space, self.plan.narrow, 0.1, self.seed)

    def trained_alone(self) -> dict[Architecture, list[float]]:
        """The accuracies of every architecture, one a seed."""
        alone = StandAlone(self.folder / "alone", self.data, self.task, self.plan.alone)
        found: dict[Architecture, list[float]] = {}
        for seed in range(self.plan.seeds):
            for group in self.groups.values():
                for architecture in group:
                    found.setdefault(architecture, []).append(alone.accuracy(architecture, seed).value)
        return found

    def epochs(self, rules: Sequence[str]) -> dict[str, int]:
        """For each rule the epochs that take as long as the sandwich rule's; measured once, then kept."""
        file = self.folder / "epochs.json"
        known: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
        for name in ("sandwich", *rules):
            if name not in known:
                known[name] = self._step_seconds(name)
                write_text(file, json.dumps(known) + "\n")
        return {name: max(1, round(self.plan.shared.epochs * known["sandwich"] / known[name])) for name in rules}

    def _step_seconds(self, name: str) -> float:
        """Seconds on the processor of a typical step, in the middle and at the end of a training."""
        rule = self._rule(name, 100)
        x, y = self._batch()
        for step in range(60, 70):  # fills caches, and splits where the rule splits
            rule(x, y, step)
        start = time.process_time()
        for step in range(85, 100):
            rule(x, y, step)
        return (time.process_time() - start) / 15

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        split = self.data.train.take(torch.arange(self.plan.shared.batch_size))
        return split.normalise(split.images).contiguous(memory_format=torch.channels_last), split.labels

    def _rule(self, name: str, steps: int) -> Rule:
        kind = KINDS[name]
        return kind(kind.make_supernet(self.space, self.seed), self.task, steps, seed=self.seed)

    def trained(self, name: str, epochs: int) -> Rule:
        """A rule that has trained its supernet."""
        recipe = self.plan.shared.model_copy(update={"epochs": epochs})
        rule = self._rule(name, recipe.steps(len(self.data.train)))
        Training(
            rule.parameters,
            rule,
            self.data.train,
            recipe,
            seed=self.seed,
            checkpoint=self.folder / f"{name}.safetensors",
            identity=f"{name}/{self.data.fingerprint[:16]}",
            buffers=rule.buffers,
        ).run()
        return rule

    def ratings(self, rules: Sequence[str]) -> dict[str, dict[Architecture, float]]:
        """Every rating of every architecture."""
        every = [architecture for group in self.groups.values() for architecture in group]
        found: dict[str, dict[Architecture, float]] = {}
        for name, epochs in self.epochs(rules).items():
            rule = self.trained(name, epochs)
            rating: Evaluator = SupernetAccuracy(rule.supernet, self.data, self.task)
            if isinstance(rule, Bootstrapping):
                rating = BlockAgreement(rule, self.data.validation)
            (found[name],) = self._timed(name, rating, every).values()
        self.milliseconds.update(macs=0.0, params=0.0)
        found["macs"] = {a: float(cost(a).macs) for a in every}
        found["params"] = {a: float(cost(a).params) for a in every}
        for name in PROXIES:
            found |= self._timed(name, ProxyScores(self.data.train, self.task, metrics=(name,)), every)
        return found

    def _timed(
        self, name: str, evaluator: Evaluator, every: Sequence[Architecture]
    ) -> dict[str, dict[Architecture, float]]:
        """The ratings that an evaluator gives, by metric; keeps how long one took on the processor."""
        evaluator.evaluate(every[0])
        start = time.process_time()
        measured = {a: evaluator.evaluate(a) for a in every}
        self.milliseconds[name] = 1e3 * (time.process_time() - start) / len(every)
        return {metric: {a: measured[a][metric].value for a in every} for metric in evaluator.metrics}

    def figures(self, rules: Sequence[str]) -> Figures:
        """The tables."""
        alone, rated = self.trained_alone(), self.ratings(rules)
        figures: dict[str, Any] = {"images": f"{len(self.data.train)} train, {len(self.data.validation)} validation"}
        figures |= {f"epochs {name}": epochs for name, epochs in self.epochs(rules).items()}
        for group, architectures in self.groups.items():
            draws = audit.bootstrap(len(architectures))
            accuracies = np.array([alone[a] for a in architectures]).T
            truth = accuracies.mean(0)
            figures[f"{group}: networks"] = len(architectures)
            figures[f"{group}: accuracy"] = f"{truth.min():.3f} to {truth.max():.3f}"
            if len(accuracies) > 1:
                rho, tau = audit.ceiling(accuracies, draws)
                figures[f"{group}: between seeds"] = f"Spearman {_text(rho)}, Kendall {_text(tau)}"
            figures[group] = [
                {
                    "rating": name,
                    "Spearman": _text(found.spearman),
                    "Kendall": _text(found.kendall),
                    "recall": round(found.recall, 2),
                    "regret": round(found.regret, 3),
                    "ms each": round(self.milliseconds[name], 1),
                }
                for name, values in rated.items()
                for found in [
                    audit.agreement([values[a] for a in architectures], truth, max(1, len(truth) // 4), draws)
                ]
            ]
        return figures


def _text(estimate: audit.Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def measure(run: Run, options: argparse.Namespace) -> Figures:
    """The figures of one space."""
    plan = QUICK if run.quick else replace(FULL, **{k: v for k, v in vars(options).items() if k in CHANGED and v})
    if run.quick:
        data = load_data("digits", limit=plan.images, seed=run.seed)
    else:
        data = load_data(options.data, size=(plan.size, plan.size), limit=plan.images, validation=1 / 3, seed=run.seed)
    rules = ("sandwich", "single_path") if run.quick else tuple(options.rules.split(","))
    name = "-".join(map(str, ("quick" if run.quick else options.space, plan.images, plan.size, run.seed)))
    space = SPACES[options.space](data.input, len(data.classes))
    return Ranking(space, data, plan, options.folder / name, run.seed).figures(rules)


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--data", help="where CIFAR-10 is; needed but for --quick")
    own.add_argument("--folder", type=Path, default=Path("runs/ranking"), help="where everything is kept")
    own.add_argument("--space", choices=SPACES, default="mbconv")
    own.add_argument("--images", type=int, help=f"in all, {FULL.images} by default; two thirds train")
    own.add_argument("--size", type=int, help=f"pixels, {FULL.size} by default")
    own.add_argument("--spread", type=int, help=f"networks over the range of cost, {FULL.spread} by default")
    own.add_argument("--narrow", type=int, help=f"networks in a narrow band, {FULL.narrow} by default")
    own.add_argument("--rules", default=",".join(KINDS), help="joined by commas")
    chosen, rest = own.parse_known_args()
    if chosen.data is None and "--quick" not in rest and "--help" not in rest and "-h" not in rest:
        own.error("give --data, the folder or file of CIFAR-10, or --quick")
    main("ranking", "supernets order architectures better than counting does", lambda run: measure(run, chosen), rest)
