"""How well supernets order architectures: each training rule at equal time, next to counting and zero-cost proxies.

    python benchmarks/ranking.py --data CIFAR10 [--folder DIR] [--spaces hybrid] [--rules sandwich,fair] [--size 8] [--json FILE]
    python benchmarks/ranking.py --quick

In each space architectures spread over the range of multiply-adds, and others in a narrow band of it, are trained alone
with two seeds. Every choice in them is drawn on its own, so that what is large in one need not be in another.
Then supernets are trained by each rule, for as much time as the sandwich rule takes for its epochs, and rate them all,
by accuracy and by loss: with the shared weights as they are, and for some rules also after an epoch or two of training on
with a copy for each ("tuned"), and for some after a training of four times the length ("longer"). The epochs of tuning
without shared weights to begin with are rated too.
Everything is kept in `--folder`; the same command goes on after an interruption, kill -9 included. Data are read with
`load_data`, so CIFAR10 may be the folder of its parquet files; `--quick` uses the built-in digits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from archfront.evaluators.stand_alone import AloneAccuracy, StandAlone
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe, Training
from archfront.evaluators.tuned import TunedAccuracy
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import metric
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

CONVOLUTION = MBConv(kernel=one_of(3, 5, 7), expand=one_of(1.0, 2.0, 3.0), gate=one_of(None, SqueezeExcite()))


def mbconv(x: Feature, classes: int) -> Space:
    """Kernels, expansions, widths, depths and gates of inverted residuals, and where they downsample."""
    return three_stages(x, classes, CONVOLUTION)


def hybrid(x: Feature, classes: int) -> Space:
    """The same with a choice of convolution or attention in the last two stages, where heads of 16 channels fit."""
    return three_stages(x, classes, one_of(CONVOLUTION, MetaFormer(mixer=SelfAttention())))


def three_stages(x: Feature, classes: int, late: Any) -> Space:
    """Three stages, of which the first and the last may downsample or not; `late` stands in the last two."""
    return Space(
        x,
        Network(
            stem=ConvStem(width=one_of(4, 8, 16), stride=2),
            stages=(
                Stage(width=one_of(4, 8, 16), depth=int_range(1, 2), stride=one_of(2, 1), block=CONVOLUTION),
                Stage(width=one_of(4, 8, 16, 24), depth=int_range(1, 3), stride=2, block=late),
                Stage(width=one_of(8, 16, 32), depth=int_range(1, 3), stride=one_of(2, 1), block=late),
            ),
            head=Classifier(classes=classes),
        ),
    )


SPACES: Mapping[str, Callable[[Feature, int], Space]] = {"mbconv": mbconv, "hybrid": hybrid}


@dataclass(frozen=True)
class Plan:
    """How much is trained.

    Args:
        train: training images.
        validation: images on which networks are scored, alone and with shared weights.
        size: pixels.
        spread: networks whose multiply-adds divide the range of the space.
        narrow: networks of about the same multiply-adds.
        seeds: trainings of each.
        alone: how networks are trained alone.
        shared: how supernets are; other rules than `sandwich` take as long, not as many epochs.
        supernets: trainings of each rule of `repeated`, which differ in their seed; the others have one.
        repeated: those rules.
        tuned: rules whose first supernet rates after tuning too.
        tuning: epochs of that.
    """

    train: int
    validation: int
    size: int
    spread: int
    narrow: int
    seeds: int
    alone: Recipe
    shared: Recipe
    supernets: int
    repeated: tuple[str, ...]
    tuned: tuple[str, ...]
    tuning: tuple[int, ...]
    longer: tuple[str, ...]

    @property
    def name(self) -> str:
        """For a folder."""
        return f"{self.train}-{self.validation}-{self.size}px"


FULL = Plan(
    train=6000,
    validation=10_000,
    size=12,
    spread=32,
    narrow=16,
    seeds=2,
    alone=Recipe(epochs=12, batch_size=128, learning_rate=4e-3, augment="flip"),
    shared=Recipe(epochs=16, batch_size=128, learning_rate=4e-3, augment="flip"),
    supernets=3,
    repeated=("sandwich", "single_path", "fair"),
    tuned=("sandwich", "single_path", "fair"),
    tuning=(1, 2),
    longer=("fair",),
)
NUMBERS = ("train", "validation", "size", "spread", "narrow", "supernets")
NAMES = ("repeated", "tuned", "longer")
"""What may be asked for in place of what `FULL` says."""

LONGER = 4
"""Times as long."""

QUICK = replace(
    FULL,
    train=800,
    validation=400,
    size=8,
    spread=8,
    narrow=0,
    alone=Recipe(epochs=10, batch_size=50, learning_rate=4e-3),
    shared=Recipe(epochs=4, batch_size=50, learning_rate=4e-3),
    repeated=(),
    tuned=("single_path",),
    tuning=(1,),
    longer=(),
)

Values = dict[Architecture, float]


class Rated(NamedTuple):
    """Ratings of every architecture by metric, what one took on the processor, and the training before, if known."""

    values: dict[str, Values]
    milliseconds: float
    seconds: float | None = None


class Row(NamedTuple):
    """A rating as the table shows it: higher is better; several where it was trained several times."""

    name: str
    values: list[Values]
    milliseconds: float = 0.0
    seconds: float | None = None


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
        self.groups = {"spread": spread_over_cost(self.space, self.plan.spread, self.seed, leaning=False)}
        if self.plan.narrow:
            self.groups["narrow"] = within_band(self.space, self.plan.narrow, 0.1, self.seed)
        self.every = list(dict.fromkeys(a for group in self.groups.values() for a in group))

    def trained_alone(self) -> dict[Architecture, list[float]]:
        """The accuracies of every architecture, one a seed."""
        alone = StandAlone(self.folder / "alone", self.data, self.task, self.plan.alone)
        trained = [[alone.accuracy(a, seed).value for a in self.every] for seed in range(self.plan.seeds)]
        return dict(zip(self.every, map(list, zip(*trained, strict=True)), strict=True))

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
        rule = self._rule(name, 100, self.seed)
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

    def _rule(self, name: str, steps: int, seed: int) -> Rule:
        kind = RULES[name]
        return kind(kind.make_supernet(self.space, seed), self.task, steps, seed=seed)

    def trained(self, name: str, epochs: int, seed: int) -> tuple[Rule, float | None]:
        """A rule that has trained its supernet, and the seconds that took unless it was interrupted."""
        recipe = self.plan.shared.model_copy(update={"epochs": epochs})
        rule = self._rule(name, recipe.steps(len(self.data.train)), seed)
        training = Training(
            rule.parameters,
            rule,
            self.data.train,
            recipe,
            seed=seed,
            checkpoint=self.folder / f"{name}-{epochs}-{seed}.safetensors",
            identity=f"{name}/{seed}/{self.data.fingerprint[:16]}",
            buffers=rule.buffers,
        )
        whole, start = training.step == 0, time.process_time()
        training.run()
        return rule, time.process_time() - start if whole else None

    def rows(self, rules: Sequence[str]) -> Iterator[Row]:
        """Every rating of every architecture; each is kept once it is there."""
        epochs = self.epochs(rules)
        for name in rules:
            seeds = range(self.seed, self.seed + (self.plan.supernets if name in self.plan.repeated else 1))
            stems = [(f"{name}-{epochs[name]}-{seed}", seed) for seed in seeds]
            yield from _rows(name, [self._kept(s, partial(self._by_rule, name, epochs[name], n)) for s, n in stems])
            if name in self.plan.tuned:
                stem, seed = stems[0]
                for tuning in self.plan.tuning:
                    made = self._kept(f"{stem}-tuned{tuning}", partial(self._tuned, name, epochs[name], seed, tuning))
                    yield from _rows(f"{name}, tuned for {_epochs(tuning)}", [made])
            if name in self.plan.longer:
                yield from self._longer(name, LONGER * epochs[name])
        for tuning in self.plan.tuning:
            made = self._kept(f"alone{tuning}", partial(self._rate, self._briefly(tuning)))
            yield from _rows(f"{_epochs(tuning)} alone", [made])
        yield Row("macs", [{a: float(cost(a).macs) for a in self.every}])
        yield Row("params", [{a: float(cost(a).params) for a in self.every}])
        for name in PROXIES:
            proxy = ProxyScores(self.data.train, self.task, metrics=(name,))
            yield from _rows(name, [self._kept(name, partial(self._rate, proxy))])

    def _longer(self, name: str, epochs: int) -> Iterator[Row]:
        """A rule that trained for so many epochs: as it is, and with the most tuning."""
        stem, title = f"{name}-{epochs}-{self.seed}", f"{name}, {LONGER} times as long"
        yield from _rows(title, [self._kept(stem, partial(self._by_rule, name, epochs, self.seed))])
        tuning = max(self.plan.tuning)
        made = self._kept(f"{stem}-tuned{tuning}", partial(self._tuned, name, epochs, self.seed, tuning))
        yield from _rows(f"{title}, tuned for {_epochs(tuning)}", [made])

    def _by_rule(self, name: str, epochs: int, seed: int) -> Rated:
        rule, seconds = self.trained(name, epochs, seed)
        if isinstance(rule, Bootstrapping):
            return self._rate(BlockAgreement(rule, self.data.validation), seconds)
        return self._rate(SupernetAccuracy(rule.supernet, self.data, self.task), seconds)

    def _tuned(self, name: str, epochs: int, seed: int, tuning: int) -> Rated:
        shared = SupernetAccuracy(self.trained(name, epochs, seed)[0].supernet, self.data, self.task)
        recipe = self.plan.shared.model_copy(update={"epochs": tuning})
        return self._rate(TunedAccuracy(shared, self.data.train, recipe))

    def _briefly(self, epochs: int) -> AloneAccuracy:
        """What tuning does, without shared weights to begin with."""
        recipe = self.plan.alone.model_copy(update={"epochs": epochs})
        return AloneAccuracy(StandAlone(self.folder / "alone", self.data, self.task, recipe))

    def _rate(self, evaluator: Evaluator, seconds: float | None = None) -> Rated:
        """Every metric that an evaluator gives for every architecture."""
        evaluator.evaluate(self.every[0])  # fills caches
        start = time.process_time()
        found = {a: evaluator.evaluate(a) for a in self.every}
        spent = 1e3 * (time.process_time() - start) / len(found)
        names = found[self.every[0]]
        return Rated({name: {a: f[name].value for a, f in found.items()} for name in names}, spent, seconds)

    def _kept(self, name: str, make: Callable[[], Rated]) -> Rated:
        """What is in the file of this name, or else is made and written there."""
        file = self.folder / "ratings" / f"{name}.json"
        if not file.exists():
            made = make()
            values = {m: {a.digest: value for a, value in v.items()} for m, v in made.values.items()}
            write_text(file, json.dumps({**made._asdict(), "values": values}) + "\n")
        read = json.loads(file.read_text())
        found = {m: {a: v[a.digest] for a in self.every} for m, v in read["values"].items()}
        return Rated(found, read["milliseconds"], read["seconds"])

    def figures(self, rules: Sequence[str]) -> Figures:
        """The tables."""
        alone, rows = self.trained_alone(), list(self.rows(rules))
        figures: dict[str, Any] = {"images": f"{len(self.data.train)} train, {len(self.data.validation)} validation"}
        figures |= {f"epochs {name}": epochs for name, epochs in self.epochs(rules).items()}
        for group, architectures in self.groups.items():
            accuracies = np.array([alone[a] for a in architectures]).T
            figures |= self._group(group, accuracies)
            figures[group] = list(_table(architectures, accuracies, rows))
        return figures

    def _group(self, group: str, accuracies: audit.Floats) -> Figures:
        """What is said of a group of networks; accuracies (seeds, networks)."""
        macs = [cost(a).macs for a in self.groups[group]]
        draws = audit.bootstrap(len(macs))
        rho, tau = audit.ceiling(accuracies, draws)
        return {
            f"{group}: networks": len(macs),
            f"{group}: multiply-adds": f"{min(macs):,} to {max(macs):,}",
            f"{group}: accuracy": f"{accuracies.mean(0).min():.3f} to {accuracies.mean(0).max():.3f}",
            f"{group}: deviation over networks": float(accuracies.mean(0).std(ddof=1)),
            f"{group}: deviation over seeds": float(np.sqrt(accuracies.var(0, ddof=1).mean())),
            f"{group}: between seeds": f"Spearman {_text(rho)}, Kendall {_text(tau)}",
            f"{group}: between seeds, beyond macs": _text(audit.beyond(accuracies[1:], macs, accuracies[0], draws)),
        }


def _epochs(count: int) -> str:
    return "one epoch" if count == 1 else f"{count} epochs"


def _rows(name: str, rated: Sequence[Rated]) -> Iterator[Row]:
    """A row for each metric of a rating; one that is less where it is better is negated."""
    known = [r.seconds for r in rated if r.seconds is not None]
    seconds = float(np.mean(known)) if known else None
    for i, by in enumerate(rated[0].values):
        sign = 1.0 if metric(by).direction == "max" else -1.0
        values = [{a: sign * value for a, value in r.values[by].items()} for r in rated]
        title = name if i == 0 else f"{name}, by {by.rpartition('_')[2]}"
        yield Row(title, values, float(np.mean([r.milliseconds for r in rated])), seconds)


def _table(architectures: Sequence[Architecture], accuracies: audit.Floats, rows: Sequence[Row]) -> Iterator[Figures]:
    """What each rating is worth in a group of networks; accuracies (seeds, networks)."""
    draws = audit.bootstrap(len(architectures))
    truth, limit = accuracies.mean(0), audit.ceiling(accuracies, draws)[0].value
    macs = [cost(a).macs for a in architectures]
    for row in rows:
        ratings = np.array([[values[a] for a in architectures] for values in row.values])
        found = audit.agreement(ratings, truth, len(architectures) // 4, draws)
        each = [audit.agreement(r, truth, 1, draws[:1]).spearman.value for r in ratings]
        yield {
            "rating": row.name,
            "Spearman": _text(found.spearman),
            "Kendall": _text(found.kendall),
            "each supernet": " ".join(f"{rho:.2f}" for rho in each) if len(each) > 1 else "",
            "of the ceiling": f"{found.spearman.value / limit:.0%}" if limit > 0 else "",
            "above macs": _text(audit.advantage(ratings, macs, truth, draws)),
            "beyond macs": _text(audit.beyond(ratings, macs, truth, draws)),
            "recall": round(found.recall, 2),
            "regret": round(found.regret, 3),
            "training s": "" if row.seconds is None else round(row.seconds),
            "ms each": round(row.milliseconds),
        }


def _text(estimate: audit.Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def measure(run: Run, options: argparse.Namespace) -> Figures:
    """The figures of every space that is asked for."""
    spaces = ("mbconv",) if run.quick else _names(options.spaces, SPACES)
    rules = ("sandwich", "single_path", "bootstrapping") if run.quick else _names(options.rules, RULES)
    plan = QUICK if run.quick else _plan(options)
    images = plan.train + plan.validation
    data = load_data(
        "digits" if run.quick else options.data,
        size=None if run.quick else (plan.size, plan.size),
        limit=images,
        validation=plan.validation / images,
        seed=run.seed,
    )
    figures: dict[str, Any] = {}
    for name in spaces:
        folder = options.folder / "-".join(("quick" if run.quick else name, plan.name, str(run.seed)))
        found = Ranking(SPACES[name](data.input, len(data.classes)), data, plan, folder, run.seed).figures(rules)
        figures |= {f"{name}, {figure}": value for figure, value in found.items()}
    return figures


def _plan(options: argparse.Namespace) -> Plan:
    """`FULL` with what was asked for."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    changed: dict[str, Any] = {name: given[name] for name in NUMBERS if name in given}
    changed |= {name: _names(given[name], RULES) for name in NAMES if name in given}
    return replace(FULL, **changed)


def _names(text: str, known: Mapping[str, object]) -> tuple[str, ...]:
    """Names joined by commas; none for an empty text."""
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in known:
            raise SystemExit(f"{name!r} is none of {', '.join(known)}")
    return names


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--data", help="where CIFAR-10 is; needed but for --quick")
    own.add_argument("--folder", type=Path, default=Path("runs/ranking"), help="where everything is kept")
    own.add_argument("--spaces", default=",".join(SPACES), help="joined by commas")
    own.add_argument("--rules", default=",".join(RULES), help="joined by commas")
    for name in NUMBERS:
        own.add_argument(f"--{name}", type=int, help=f"{getattr(FULL, name)} by default")
    for name in NAMES:
        own.add_argument(f"--{name}", help=f"{','.join(getattr(FULL, name))} by default")
    chosen, rest = own.parse_known_args()
    if chosen.data is None and "--quick" not in rest and "--help" not in rest and "-h" not in rest:
        own.error("give --data, the folder or file of CIFAR-10, or --quick")
    main(
        "ranking",
        "what supernets tell of the order of architectures beyond counting",
        lambda run: measure(run, chosen),
        rest,
    )
