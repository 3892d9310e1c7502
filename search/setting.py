"""What a search is about: images, a space, what a candidate costs, and what the budget leaves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from archfront.evaluators.data import Dataset, load_data
from archfront.evaluators.task import Classification, Task
from archfront.hw_profiles.cost import cost, part_cost
from archfront.hw_profiles.metrics import Measurement, metric
from archfront.hw_profiles.profile import profile
from archfront.hw_profiles.table import LatencyTable
from archfront.space.architecture import Architecture
from archfront.space.limits import Bounds
from archfront.space.serial import encode
from archfront.space.space import Space
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

from .about import counted, write_about
from .backends import device_of
from .budget import Bound, Budget
from .config import StudyConfig
from .feasible import Region
from .known import known_networks
from .latency import NEVER, LatencyModel
from .progress import Reporter
from .spaces import find_space
from .study import Study
from .trials import FINAL_METRIC, search_metrics

ADDITIVE = ("params", "macs", "latency_ms", "peak_excess")
"""What adds up over parts; `peak_excess` stands for peak memory: the number of parts that break its bound."""

NO_EXCESS = Bound("peak_bytes", high=0.5)


@dataclass
class Setting:
    """What a configuration means: every object is made when it is first asked for.

    Args:
        study: where the search is kept.
        config: what to do; for a resumed study it must agree with what was done.
        reporter: where progress goes.
    """

    study: Study
    config: StudyConfig
    reporter: Reporter

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
    def references(self) -> dict[str, Architecture]:
        """Published networks that are measured beside the front, by name."""
        return known_networks(self.config.final.references, self.data.input, len(self.data.classes))

    @cached_property
    def budget(self) -> Budget:
        """The bounds to keep."""
        return Budget.parse(self.config.budget)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that stand for the objectives while searching."""
        return search_metrics(self.config.search.objectives, self.config.rating)

    @cached_property
    def final_metrics(self) -> tuple[str, ...]:
        """The metrics of the objectives for members of the front."""
        return tuple(FINAL_METRIC.get(name, name) for name in self.metrics)

    @cached_property
    def latency(self) -> LatencyModel:
        """Predicted and measured latency."""
        found = profile(self.config.device)
        return LatencyModel(
            self.space,
            found,
            self.config.latency,
            self.study.table_file,
            self.config.seed,
            self.reporter,
            self._bounds_of_table,
            lambda: device_of(self.config, found, self.reporter.note),
        )

    # ------------------------------------------------------------------ what is known of a candidate at once

    def at_once(self, architecture: Architecture) -> dict[str, Measurement]:
        """What is found out about a candidate within milliseconds."""
        return {**cost(architecture).measurements(), "predicted_latency_ms": self.latency.predict(architecture)}

    def bounded(self, architecture: Architecture) -> dict[str, float]:
        """The metrics that a budget bounds, latency as predicted."""
        values = {name: found.value for name, found in self.at_once(architecture).items()}
        return values | {"latency_ms": values["predicted_latency_ms"]}

    def costs(self, architecture: Architecture) -> list[float]:
        """The objectives but for accuracy."""
        known = self.bounded(architecture)
        return [known[name] for name in self.metrics[1:]]

    # ------------------------------------------------------------------ what the budget leaves

    @cached_property
    def exact_region(self) -> Region:
        """What the budget leaves of the space, judged by exact counts alone."""

        def exact(architecture: Architecture) -> dict[str, float]:
            return {name: found.value for name, found in cost(architecture).measurements().items()}

        metrics = tuple(name for name in ADDITIVE if name != "latency_ms")
        sums = {"peak_excess": NO_EXCESS}
        return Region(self.space, self.budget, metrics, self._exact_costs, sums, exact, self._shown)

    @cached_property
    def region(self) -> Region:
        """What the budget leaves of the space, judged by exact counts and predicted latency."""
        sums = {"latency_ms": self.latency.sum_bound(self.budget["latency_ms"]), "peak_excess": NO_EXCESS}
        return Region(self.space, self.budget, ADDITIVE, self._part_costs, sums, self.bounded, self._shown, self._worth)

    def _exact_costs(self, spec: Spec, x: FeatureType) -> tuple[float, float, float]:
        counted = part_cost(spec, x)
        return counted.params, counted.macs, float(counted.peak_bytes > self.budget["peak_bytes"].high)

    def _part_costs(self, spec: Spec, x: FeatureType) -> Sequence[float]:
        params, macs, excess = self._exact_costs(spec, x)
        return params, macs, self.latency.part_ms(spec, x), excess

    def _bounds_of_table(self, table: LatencyTable) -> Bounds | None:
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

    def _shown(self, name: str, total: float) -> str:
        if name == "peak_excess":
            return f"{total:.0f} parts that need more memory"
        if name == "latency_ms" and total >= NEVER:
            return "what cannot run there"
        return metric(name).format(self._worth(name, total))

    def _worth(self, name: str, total: float) -> float:
        if name != "latency_ms":
            return total
        return self.latency.typical(total) if total < NEVER else math.nan

    # ------------------------------------------------------------------ before anything is trained

    def check(self) -> None:
        """Make sure that the study is the same as before, that all is there, and that the budget leaves something.

        Measures the latency table on the way, where it is not there yet.

        Raises:
            ArchfrontError: bad input, another study, an impossible budget.
        """
        self.study.settle(self.config)
        self._remember()
        _ = self.references  # before anything is measured
        self._count()
        self.exact_region.check()
        self.latency.prepare()
        self._explain()
        self.region.check()

    def _remember(self) -> None:
        text = json.dumps([self.space.input.to_dict(), encode(self.space.network)], sort_keys=True)
        self.study.remember(
            data=self.data.fingerprint,
            space=hashlib.sha256(text.encode()).hexdigest()[:16],
            profile=self.latency.profile.digest,
        )
        write_about(self.study, self.data, self.space, self.latency.profile)

    def _count(self) -> None:
        """Count every part once, so that whatever asks for costs later has them at once."""
        parts = list(self.space.parts())
        with self.reporter.track("Counting parts", len(parts)) as advance:
            for done, part in enumerate(parts, start=1):
                part_cost(part.spec, part.input)
                advance(done, "")

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
