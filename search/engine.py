"""The search itself: check, profile, train, explore, finish. Every stage keeps what it did and resumes from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from archfront.evaluators.accuracy import Evaluator, SupernetAccuracy, fine_tune, score
from archfront.evaluators.data import Dataset, batches, load_data
from archfront.evaluators.deployed import BATCH, in_int8
from archfront.evaluators.rules import rule_named
from archfront.evaluators.stand_alone import AloneAccuracy, StandAlone
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification, Task
from archfront.evaluators.train import Recipe, Training
from archfront.evaluators.tuned import TunedAccuracy
from archfront.hw_profiles.cost import cost, part_cost
from archfront.hw_profiles.metrics import Measurement, metric
from archfront.hw_profiles.profile import profile
from archfront.hw_profiles.table import LatencyTable
from archfront.hw_profiles.transport import Transport
from archfront.space.architecture import Architecture
from archfront.space.serial import encode
from archfront.space.space import Space
from archfront.space.spec import Spec
from archfront.space.types import FeatureType
from archfront.space.walk import Bounds

from .about import counted, write_about
from .budget import Bound, Budget, BudgetError
from .cluster.backend import RayBackend
from .cluster.connection import connect
from .cluster.meter import device_of
from .cluster.trainings import TrainingBackend, Trainings
from .config import StudyConfig
from .evaluation import Backend, Local
from .feasible import Region
from .final import Finalist, decide, load_finalists, ranked_front, save_finalists
from .known import known_networks, load_known, save_known
from .latency import NEVER, LatencyModel
from .pareto import recent_gain
from .progress import Reporter, Silent
from .propose import Proposer, objective_values
from .rungs import Rungs
from .samplers import make_sampler
from .spaces import find_space
from .storage import storage_url
from .study import Study, StudyError
from .surrogate.within import Within
from .trials import FINAL_METRIC, Trial, TrialLog, search_metrics

ADDITIVE = ("params", "macs", "latency_ms", "peak_excess")
"""What adds up over parts; `peak_excess` stands for peak memory: the number of parts that break its bound."""

LEAST_GAIN = 0.001
"""Share of the hypervolume that counts as a gain for `search.patience`."""

NO_EXCESS = Bound("peak_bytes", high=0.5)


@dataclass
class Search:
    """One search in a study directory.

    Args:
        study: where it is kept.
        config: what to do; for a resumed study it must agree with what was done.
        reporter: where progress goes.
    """

    study: Study
    config: StudyConfig
    reporter: Reporter
    number: int = 0
    """Which of the processes that explore this study together this one is, from 0."""

    def run(self) -> list[Finalist]:
        """Everything, from where the last run stopped; gives the finalists, front and pick marked.

        Several processes may do this on one study: one prepares it while the others wait, then all explore, and the
        first to be done finishes it.

        Raises:
            ArchfrontError: bad input, an impossible budget, a damaged study; nothing that was done is lost.
        """
        waiting = self.reporter.note
        with self.study.searcher() as self.number:
            with self.study.locked(waiting):
                self.prepare()
            self._explore()
        with self.study.locked(waiting):
            return self._finish()

    def prepare(self) -> None:
        """What comes before candidates are evaluated: checks, predicted latency, the trained supernet if one rates."""
        self.study.settle(self.config)
        self._remember()
        _ = self.known  # before anything is measured
        self._count()
        self.exact_region.check()
        self.latency.prepare()
        self._explain()
        self.region.check()
        if self.config.evaluator == "supernet":
            self._train()
        _ = self.log  # one process at a time makes the tables of a database

    # ------------------------------------------------------------------ what the search is about

    @cached_property
    def data(self) -> Dataset:
        """The images."""
        options = self.config.data
        with self.reporter.track("Loading images", 1) as advance:

            def progress(done: int, total: int) -> None:
                advance(done, "", total)

            return load_data(
                options.source,
                size=options.size,
                validation=options.validation,
                test=options.test,
                limit=options.limit,
                skip_bad=options.skip_bad,
                seed=self.config.seed,
                progress=progress,
            )

    @cached_property
    def task(self) -> Task:
        """What is learned."""
        return Classification(len(self.data.classes))

    @cached_property
    def space(self) -> Space:
        """The architectures to choose from."""
        space = find_space(self.config.space, self.data.input, len(self.data.classes))
        self.task.check(space.sample(0).output)
        return space

    @cached_property
    def known(self) -> dict[str, Architecture]:
        """Published networks that are measured beside the front, by name."""
        return known_networks(self.config.final.references, self.data.input, len(self.data.classes))

    @cached_property
    def budget(self) -> Budget:
        """The bounds to keep."""
        return Budget.parse(self.config.budget)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that stand for the objectives while searching."""
        return search_metrics(self.config.search.objectives, self.config.evaluator)

    @cached_property
    def final_metrics(self) -> tuple[str, ...]:
        """The metrics of the objectives for members of the front."""
        return tuple(FINAL_METRIC.get(name, name) for name in self.metrics)

    @cached_property
    def latency(self) -> LatencyModel:
        """Predicted and measured latency."""
        return LatencyModel(
            self.space,
            profile(self.config.device),
            self.config.latency,
            self.study.table_file,
            self.config.seed,
            self.reporter,
            self._exact_bounds,
            self._device,
        )

    @contextmanager
    def _device(self) -> Iterator[Transport | None]:
        """Where latency is measured: None for where the profile says, else a node of the cluster that is the device."""
        cluster, profile = self.config.cluster, self.latency.profile
        if self.config.backend == "local" or not cluster.address or profile.transport != "local":
            yield None
            return
        with connect(cluster.address) as found, device_of(found, profile, self.reporter.note) as device:
            yield device

    def _exact_bounds(self, table: LatencyTable) -> Bounds | None:
        """The bounds on exact counts, and half as much latency again as the budget has, by parts."""

        def costs(spec: Spec, x: FeatureType) -> tuple[float, float, float]:
            counted = part_cost(spec, x)
            return counted.params, counted.macs, min(table.part_ms(spec, x), NEVER)

        low = np.array([self.budget["params"].low, self.budget["macs"].low, -np.inf])
        # what blocks take on another device bounds nothing before it is calibrated
        here = table.blocks_of.digest == table.profile.digest
        slowest = 1.5 * self.budget["latency_ms"].high if here else np.inf
        high = np.array([self.budget["params"].high, self.budget["macs"].high, slowest])
        return Bounds(costs, low, high) if np.isfinite([*low[:2], *high]).any() else None

    @cached_property
    def exact_region(self) -> Region:
        """What the budget leaves of the space, judged by exact counts alone."""
        metrics = tuple(name for name in ADDITIVE if name != "latency_ms")
        sums = {"peak_excess": NO_EXCESS}
        return Region(self.space, self.budget, metrics, self._exact_costs, sums, self._exact, self._shown)

    @cached_property
    def region(self) -> Region:
        """What the budget leaves of the space, judged by exact counts and predicted latency."""
        sums = {"latency_ms": self.latency.sum_bound(self.budget["latency_ms"]), "peak_excess": NO_EXCESS}
        return Region(self.space, self.budget, ADDITIVE, self._part_costs, sums, self._cheap, self._shown)

    def _count(self) -> None:
        """Count every part once, so that whatever asks for costs later has them at once."""
        parts = list(self.space.parts())
        with self.reporter.track("Counting parts", len(parts)) as advance:
            for done, part in enumerate(parts, start=1):
                part_cost(part.spec, part.input)
                advance(done, "")

    def _exact(self, architecture: Architecture) -> dict[str, float]:
        return {name: m.value for name, m in cost(architecture).measurements().items()}

    def _known(self, architecture: Architecture) -> dict[str, float]:
        """The objectives that a candidate has whether it is evaluated or not."""
        cheap = self._cheap(architecture)
        return cheap | {"predicted_latency_ms": cheap["latency_ms"]}

    def _cheap(self, architecture: Architecture) -> dict[str, float]:
        """What is known of an architecture before it is trained."""
        return self._exact(architecture) | {"latency_ms": self.latency.predict(architecture).value}

    def _shown(self, name: str, total: float) -> str:
        if name == "peak_excess":
            return f"{total:.0f} parts that need more memory"
        if name == "latency_ms" and total >= NEVER:
            return "what cannot run there"
        return metric(name).format(self.latency.typical(total) if name == "latency_ms" else total)

    def _exact_costs(self, spec: Spec, x: FeatureType) -> tuple[float, float, float]:
        counted = part_cost(spec, x)
        return counted.params, counted.macs, float(not self.budget["peak_bytes"].holds(counted.peak_bytes))

    def _part_costs(self, spec: Spec, x: FeatureType) -> Sequence[float]:
        params, macs, excess = self._exact_costs(spec, x)
        return params, macs, self.latency.part_ms(spec, x), excess

    def _remember(self) -> None:
        text = json.dumps([self.space.input.to_dict(), encode(self.space.network)], sort_keys=True)
        self.study.remember(
            data=self.data.fingerprint,
            space=hashlib.sha256(text.encode()).hexdigest()[:16],
            profile=self.latency.profile.digest,
        )
        write_about(self.study, self.data, self.space, self.latency.profile)

    def _explain(self) -> None:
        """Say what is searched and what the budget leaves, before anything is trained."""
        note = self.reporter.note
        space, (size, _) = self.space, counted(self.space)
        note(f"Space {self.config.space}: {size:,} architectures, {len(space.sites)} choices, input {space.input}")
        for name, (least, greatest) in self.region.reach().items():
            if name != "peak_excess":
                how = "predicted" if name == "latency_ms" else "exact"
                note(f"  {metric(name).title}: {self._shown(name, least)} to {self._shown(name, greatest)} ({how})")
        note(f"Budget: {self.budget}")

    # ------------------------------------------------------------------ supernet

    @cached_property
    def supernet(self) -> Supernet:
        """The shared weights."""
        rule = rule_named(self.config.supernet.rule)
        return rule.make_supernet(self.space, self.config.seed, "cuda" if torch.cuda.is_available() else "cpu")

    def _train(self) -> None:
        recipe = self.config.supernet
        rule = rule_named(recipe.rule)(
            self.supernet,
            self.task,
            recipe.steps(len(self.data.train)),
            bounds=self.region.bounds,
            label_smoothing=recipe.label_smoothing,
            randoms=recipe.randoms,
            seed=self.config.seed,
        )
        training = Training(
            rule.parameters,
            rule,
            self.data.train.to(self.supernet.device),
            recipe,
            seed=self.config.seed,
            checkpoint=self.study.checkpoint,
            identity=f"supernet/{self.study.facts['space']}/{self.data.fingerprint[:16]}",
            buffers=rule.buffers,
        )
        if training.done:
            return
        with self.reporter.track("Training the supernet", training.total) as advance:
            training.run(lambda step, total, loss: advance(step, f"loss {loss:.2f}"))

    @cached_property
    def rating(self) -> SupernetAccuracy | TunedAccuracy:
        """Rates candidates with the shared weights."""
        own = self.config.supernet
        shared = SupernetAccuracy(self.supernet, self.data, self.task, own.calibration_images)
        if not own.tuning_images:
            return shared
        images = self.data.train.take(torch.arange(min(own.tuning_images, len(self.data.train))))
        recipe = Recipe(**{**{name: getattr(own, name) for name in Recipe.model_fields}, "epochs": 1})
        return TunedAccuracy(shared, images, recipe, self.config.seed)

    # ------------------------------------------------------------------ rating

    @cached_property
    def evaluator(self) -> Evaluator:
        """Rates candidates, as configured."""
        return AloneAccuracy(self.alone, self.config.seed) if self.config.evaluator == "alone" else self.rating

    @cached_property
    def alone(self) -> StandAlone:
        """Trains candidates one by one."""
        own, folder = self.config.alone, self.study.path / "alone"
        recipe = Recipe(**{name: getattr(own, name) for name in Recipe.model_fields})
        rungs = Rungs(folder / "rungs", recipe.epochs, own.eta, self._costs)
        return StandAlone(folder, self.data, self.task, recipe, stopping=rungs, keeps_weights=True)

    def _begun(self) -> list[Architecture]:
        """Candidates whose training was interrupted, or ended without becoming a trial."""
        if self.config.evaluator != "alone":
            return []
        return self.alone.begun(self.config.seed, {trial.architecture.digest for trial in self.log.trials})

    def _costs(self, architecture: Architecture) -> list[float]:
        """The objectives but for accuracy."""
        known = self._known(architecture)
        return [known[name] for name in self.metrics[1:]]

    def _weights(self, architecture: Architecture) -> nn.Module:
        """A network with the weights that it was rated with."""
        if self.config.evaluator == "alone":
            return self.alone.network(architecture, self.config.seed)
        return self.supernet.extract(architecture, self.rating.calibration).cpu()

    # ------------------------------------------------------------------ exploration

    @cached_property
    def log(self) -> TrialLog:
        """The trials so far."""
        search = self.config.search
        url = storage_url(self.study)
        source = Within(self.space, self.region, self.metrics, self._known)
        sampler = make_sampler(search.sampler, search.population, self._seed, source)
        return TrialLog(url, self.study.path.name, search.objectives, sampler, self.config.evaluator)

    @property
    def _seed(self) -> int:
        """Another one for every process that explores, so that they do not all propose the same."""
        return self.config.seed + 7919 * self.number

    def _explore(self) -> None:
        if self._enough() is not None:
            return
        proposer = Proposer(self.space, self.region, self.log, self.config.search.sampler, self._seed, self._begun())
        trials = self.config.search.trials
        with self._backend() as backend, self.reporter.track("Searching", trials) as advance:
            advance(len(self.log.trials), "")
            while (enough := self._enough()) is None:
                while backend.room and len(self.log.trials) + len(proposer.under_way) < trials:
                    if (proposal := proposer.next()) is None:
                        break
                    backend.submit(proposal.architecture)
                if not backend.busy:
                    enough = f"Every architecture within the budget seems to be known: {len(self.log.trials)}"
                    break
                for architecture, outcome in backend.collect():
                    proposer.record(architecture, outcome)
                advance(len(self.log.trials), self._standing())
        if enough:
            self.reporter.note(enough)

    @contextmanager
    def _backend(self) -> Iterator[Backend]:
        """Where candidates are evaluated, as configured; there is a cluster for as long as that takes, and no longer."""
        cluster = self.config.cluster
        if self.config.backend == "local":
            yield Local(self._evaluate, cluster.workers * cluster.ahead if cluster.workers else 1)
            return
        with connect(cluster.address, cluster.workers) as found:
            if self.config.evaluator == "alone":
                trainings = Trainings(found, self.alone, self.space, workers=cluster.workers, gpus=cluster.gpus)
                with closing(TrainingBackend(trainings, self.config.seed, self._at_once)) as training:
                    yield training
                return
            backend = RayBackend(
                found,
                self.evaluator,
                self.space,
                self._at_once,
                workers=cluster.workers,
                ahead=cluster.ahead,
                gpus=cluster.gpus,
                note=self.reporter.note,
            )
            with closing(backend):
                yield backend

    def _enough(self) -> str | None:
        """Why no further candidate is to be proposed, empty where that goes without saying; None while one is."""
        search, trials = self.config.search, self.log.trials
        if len(trials) >= search.trials:
            return ""
        if search.minutes is not None and sum(trial.seconds for trial in trials) > 60 * search.minutes:
            return f"Stopped after {search.minutes:g} minutes of evaluation, as configured"
        if search.patience is not None and len(trials) > search.patience:
            gain = recent_gain(
                [objective_values(trial, self.metrics) for trial in trials], self.metrics, search.patience
            )
            if gain < LEAST_GAIN:
                return f"Stopped: the last {search.patience} candidates raised the hypervolume by {gain:.2%} together"
        return None

    def _evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """Everything that is found out about a candidate while searching."""
        return {**self._at_once(architecture), **self.evaluator.evaluate(architecture)}

    def _at_once(self, architecture: Architecture) -> dict[str, Measurement]:
        """What is found out about a candidate within milliseconds."""
        return {**cost(architecture).measurements(), "predicted_latency_ms": self.latency.predict(architecture)}

    def _standing(self) -> str:
        complete = [trial for trial in self.log.trials if trial.complete]
        if not complete:
            return "no candidate could be evaluated yet"
        best = max(trial.values[self.metrics[0]] for trial in complete)
        return f"best {metric(self.metrics[0]).format(best)}"

    # ------------------------------------------------------------------ the front

    def _finish(self) -> list[Finalist]:
        """Fine-tune, measure and test members of the front; those that break the budget as measured are replaced."""
        self.log.refresh()
        candidates = ranked_front([trial for trial in self.log.trials if not trial.stopped], self.metrics)
        if not candidates:
            reasons = {trial.reason for trial in self.log.trials}
            raise StudyError(f"no candidate could be evaluated; reasons: {'; '.join(sorted(reasons)[:3])}")
        members = self.config.final.members
        finalists = load_finalists(self.study)
        known = {finalist.architecture for finalist in finalists}
        while True:
            kept = sum(not self.budget.broken({k: m.value for k, m in f.measurements.items()}) for f in finalists)
            waiting = [trial for trial in candidates if trial.architecture not in known]
            batch = waiting[: members - kept]
            if not batch or len(finalists) >= 3 * members:
                break
            finalists += self._finalise(batch)
            known |= {trial.architecture for trial in batch}
            finalists = decide(finalists, self.final_metrics, self.budget)
            save_finalists(self.study, finalists)
        if not any(finalist.picked for finalist in finalists):
            raise BudgetError(self._nothing_left(finalists))
        return finalists

    def _finalise(self, trials: Sequence[Trial]) -> list[Finalist]:
        tuned: list[dict[str, Measurement]] = []
        with self.reporter.track("Fine-tuning the front", len(trials)) as advance:
            for number, trial in enumerate(trials):
                tuned.append(self._tune(trial))
                advance(number + 1, metric("accuracy").format(tuned[-1]["accuracy"].value))
        known = {n: a for n, a in self.known.items() if n not in load_known(self.study)}
        networks = [*(trial.architecture for trial in trials), *known.values()]
        measured = self.latency.measure(networks)
        save_known(
            self.study,
            load_known(self.study)
            | {
                name: {**cost(architecture).measurements(), "latency_ms": latency}
                for (name, architecture), (latency, _) in zip(known.items(), measured[len(trials) :], strict=True)
            },
        )
        return [
            Finalist(trial.number, trial.architecture, {**trial.measurements, **own, "latency_ms": m}, noisy=noisy)
            for trial, own, (m, noisy) in zip(trials, tuned, measured[: len(trials)], strict=True)
        ]

    def _tune(self, trial: Trial) -> dict[str, Measurement]:
        """Validation accuracy after fine-tuning, and the one look at the test split."""
        network = self._weights(trial.architecture)
        fine_tune(
            network,
            self.data,
            self.task,
            self.config.final,
            drop_path=self.config.final.drop_path,
            seed=self.config.seed,
            checkpoint=self.study.weights(trial.architecture),
            identity=f"final/{trial.architecture.digest}/{self.data.fingerprint[:16]}",
        )
        found: dict[str, Measurement] = {}
        deployed: Callable[[Tensor], Tensor] = network
        if self.latency.profile.precision == "int8":  # what runs there is another network
            found["float_accuracy"] = score(network, self.data.validation, self.task)
            images = torch.arange(min(self.config.supernet.calibration_images, len(self.data.train)))
            deployed = in_int8(network, [x for x, _ in batches(self.data.train.take(images), BATCH)])
        return found | {
            "accuracy": score(deployed, self.data.validation, self.task),
            "test_accuracy": score(deployed, self.data.test, self.task),
        }

    def _nothing_left(self, finalists: Sequence[Finalist]) -> str:
        def excess(finalist: Finalist) -> float:
            values = {name: m.value for name, m in finalist.measurements.items()}
            return sum(bound.excess(values[bound.metric]) for bound in self.budget.broken(values))

        nearest = min(finalists, key=excess)
        values = {name: m.value for name, m in nearest.measurements.items()}
        broken = ", ".join(f"{b} (measured {b.what.format(values[b.metric])})" for b in self.budget.broken(values))
        return (
            f"none of the {len(finalists)} best candidates keeps the budget once measured; the nearest is trial "
            f"{nearest.number}, which breaks {broken}. Everything is kept in {self.study.path}"
        )


def search(study: Study, config: StudyConfig, reporter: Reporter | None = None) -> list[Finalist]:
    """Run or resume a search; see `Search`."""
    return Search(study, config, reporter or Silent()).run()


def architecture_of(study: Study, number: int) -> Architecture:
    """The architecture of a trial of a finished study."""
    found = next((f.architecture for f in load_finalists(study) if f.number == number), None)
    if found is None:
        numbers = ", ".join(str(f.number) for f in load_finalists(study)) or "none yet"
        raise StudyError(f"{study.path} has no finalist {number}; finalists: {numbers}")
    return found
