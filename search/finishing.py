"""The end of a search: members of the front are fine-tuned, measured and tested; those that break the budget replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor

from archfront.evaluators.accuracy import fine_tune, score
from archfront.evaluators.data import Split, batches
from archfront.evaluators.deployed import BATCH, in_int8
from archfront.evaluators.task import NonFiniteError
from archfront.evaluators.train import Diverged
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import Measurement, metric
from archfront.hw_profiles.profile import LatencyError
from archfront.space.architecture import Architecture

from .budget import BudgetError
from .final import Finalist, decide, load_finalists, ranked_front, save_finalists
from .known import load_known, save_known
from .raters import Raters
from .setting import Setting
from .study import StudyError
from .trials import Trial


class Finish:
    """Makes finalists of the best trials of a search."""

    def __init__(self, setting: Setting, raters: Raters) -> None:
        self.setting = setting
        self.raters = raters
        self._failed: dict[Architecture, str] = {}

    def run(self, trials: Sequence[Trial]) -> list[Finalist]:
        """The finalists, front and pick marked; what was found out about them before is kept.

        Raises:
            StudyError: no candidate could be evaluated, or none of the best fine-tuned.
            BudgetError: none of the best keeps the budget once measured.
        """
        study = self.setting.study
        candidates = [trial for trial in trials if trial.complete and not trial.stopped]
        if not candidates:
            reasons = sorted({trial.reason or "its training was stopped early" for trial in trials})
            raise StudyError(f"no candidate could be evaluated; reasons: {'; '.join(reasons[:3])}")
        finalists = load_finalists(study)
        ranked = list(islice(ranked_front(candidates, self.setting.metrics), 3 * self.setting.config.final.members))
        while batch := self._next(ranked, finalists):
            finalists += self._finalists(batch)
            finalists = decide(finalists, self.setting.final_metrics, self.setting.budget)
            save_finalists(study, finalists)
        if not finalists:
            first = next(iter(self._failed.values()))
            raise StudyError(
                f"none of the {len(ranked)} best candidates could be fine-tuned and run; the first: {first}"
            )
        if not any(finalist.picked for finalist in finalists):
            raise BudgetError(self._nothing_left(finalists))
        return finalists

    def _next(self, ranked: Iterable[Trial], finalists: Iterable[Finalist]) -> list[Trial]:
        """The trials that are no finalists yet among the best ones: as many as there are members, without those that
        turned out to break the budget, or could not be fine-tuned or run."""
        measured = {finalist.architecture: finalist.values for finalist in finalists}
        lost = {architecture for architecture, values in measured.items() if self.setting.budget.broken(values)}
        hopeful = (trial for trial in ranked if trial.architecture not in lost | self._failed.keys())
        best = islice(hopeful, self.setting.config.final.members)
        return [trial for trial in best if trial.architecture not in measured]

    def _finalists(self, trials: Sequence[Trial]) -> list[Finalist]:
        """What becomes of trials; the published networks are measured beside the first of them."""
        tuned = self._all_tuned(trials)
        before = load_known(self.setting.study)
        known = {name: network for name, network in self.setting.references.items() if name not in before}
        numbers = {trial.architecture: trial.number for trial, _ in tuned}

        def left_out(architecture: Architecture, error: LatencyError) -> None:
            if architecture not in numbers:
                raise error  # a published network, which somebody asked for
            self._leave_out(numbers[architecture], architecture, error)

        measured = self.setting.latency.measure([*numbers, *known.values()], left_out)
        found = {
            name: {**cost(network).measurements(), "latency_ms": measured[network][0]}
            for name, network in known.items()
            if network in measured
        }
        save_known(self.setting.study, before | found)
        return [
            Finalist(trial.number, trial.architecture, {**trial.measurements, **own, "latency_ms": ms}, noisy=noisy)
            for trial, own in tuned
            if trial.architecture in measured
            for ms, noisy in [measured[trial.architecture]]
        ]

    def _leave_out(self, number: int, architecture: Architecture, error: Exception) -> None:
        self._failed[architecture] = str(error)
        self.setting.reporter.note(f"Network {number} is left out: {error}")

    def _all_tuned(self, trials: Sequence[Trial]) -> list[tuple[Trial, dict[str, Measurement]]]:
        """The trials with what fine-tuning made of them, but for those whose training diverged."""
        tuned = []
        with self.setting.reporter.track("Fine-tuning the front", len(trials)) as advance:
            for number, trial in enumerate(trials):
                try:
                    tuned.append((trial, own := self._tuned(trial.architecture)))
                except (Diverged, NonFiniteError) as error:
                    self._leave_out(trial.number, trial.architecture, error)
                    continue
                advance(number + 1, metric("accuracy").format(own["accuracy"].value))
        return tuned

    def _tuned(self, architecture: Architecture) -> dict[str, Measurement]:
        """Validation accuracy after fine-tuning, and the one look at the test split."""
        setting, final = self.setting, self.setting.config.final
        network = self.raters.network(architecture)
        fine_tune(
            network,
            setting.data,
            setting.task,
            final,
            drop_path=final.drop_path,
            seed=setting.config.seed,
            checkpoint=setting.study.weights(architecture),
            identity=f"final/{architecture.digest}/{setting.data.fingerprint[:16]}",
        )
        found: dict[str, Measurement] = {}
        deployed: Callable[[Tensor], Tensor] = network
        if setting.latency.profile.precision == "int8":  # what runs there is another network
            found["float_accuracy"] = score(network, setting.data.validation, setting.task)
            deployed = in_int8(network, [images for images, _ in batches(self._calibration(), BATCH)])
        return found | {
            "accuracy": score(deployed, setting.data.validation, setting.task),
            "test_accuracy": score(deployed, setting.data.test, setting.task),
        }

    def _calibration(self) -> Split:
        """The images that a network is quantised with."""
        train = self.setting.data.train
        return train.take(torch.arange(min(self.setting.config.supernet.calibration_images, len(train))))

    def _nothing_left(self, finalists: Sequence[Finalist]) -> str:
        broken = self.setting.budget.broken

        def excess(finalist: Finalist) -> float:
            return sum(bound.excess(finalist.values[bound.metric]) for bound in broken(finalist.values))

        nearest = min(finalists, key=excess)
        missed = ", ".join(
            f"{bound} (measured {bound.what.format(nearest.values[bound.metric])})" for bound in broken(nearest.values)
        )
        return (
            f"none of the {len(finalists)} best candidates keeps the budget once measured; the nearest is trial "
            f"{nearest.number}, which breaks {missed}. Everything is kept in {self.setting.study.path}"
        )
