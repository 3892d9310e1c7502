"""From a study directory, finished or not, to one table of trials and everything else that a report says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from archfront.hw_profiles.metrics import Measurement
from archfront.search.about import read_about
from archfront.search.audit import load_audit
from archfront.search.budget import Bound, Budget
from archfront.search.config import StudyConfig
from archfront.search.final import Finalist, load_finalists
from archfront.search.known import load_known
from archfront.search.storage import exists, explained, open_storage, storage_url, stored_name
from archfront.search.study import Study
from archfront.search.trials import FINAL_METRIC, Trial, quiet_optuna, read_trial, search_metrics
from archfront.space.files import replace_file

from .report import COLUMNS, ReportData

if TYPE_CHECKING:
    import pandas as pd

# --------------------------------------------------------------------------- trials


def read_trials(study: Study) -> list[Trial]:
    """All trials so far, in order; a search may be adding more at the same time.

    Raises:
        StudyError: the storage cannot be read.
    """
    import optuna

    url = storage_url(study)
    if not exists(url):
        return []  # the search has not reached its first trial, and reading makes no file
    with quiet_optuna(), explained(url, "read the trials in"):
        try:
            stored = optuna.load_study(study_name=stored_name(study), storage=open_storage(url, write=False))
        except KeyError:
            return []
        return [read_trial(trial) for trial in stored.get_trials(deepcopy=False)]


def table(trials: Iterable[Trial], finalists: Iterable[Finalist], budget: Budget) -> pd.DataFrame:
    """One row a trial, as `report.COLUMNS` says; finalists with what was measured of them as stand-alone networks.

    A trial is infeasible where its latest value of a metric breaks the budget: the measured latency of a finalist, the
    predicted one of others. Bounds on accuracy are judged on finalists alone: shared weights underestimate it.
    """
    import pandas as pd

    final = {finalist.number: finalist for finalist in finalists}
    rows = [_row(trial, final.get(trial.number), budget) for trial in trials]
    if not rows:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.DataFrame(rows).astype({"reason": object, "front": bool, "picked": bool})


def _row(trial: Trial, finalist: Finalist | None, budget: Budget) -> dict[str, Any]:
    measurements = {**trial.measurements, **(finalist.measurements if finalist else {})}
    state, reason = _state(trial, measurements, budget)
    row = {
        "number": trial.number,
        "state": state,
        "reason": reason,
        "origin": trial.origin,
        "digest": trial.architecture.digest,
        "architecture": json.dumps(trial.architecture.to_dict()),
        "seconds": trial.seconds,
        "front": finalist is not None and finalist.front,
        "picked": finalist is not None and finalist.picked,
        "sites": json.dumps(trial.choices),
    }
    return row | _columns(measurements)


def _columns(measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, m in measurements.items():
        columns |= {
            name: m.value,
            f"{name}.provenance": m.provenance,
            f"{name}.spread": math.nan if m.spread is None else m.spread,
            f"{name}.samples": m.samples,
        }
    return columns


def known_table(known: Mapping[str, Mapping[str, Measurement]]) -> pd.DataFrame:
    """One row a published network, with the metric columns of `table` and `name`."""
    import pandas as pd

    rows = [{"name": name, **_columns(measurements)} for name, measurements in known.items()]
    return pd.DataFrame(rows) if rows else pd.DataFrame({"name": pd.Series(dtype=str)})


def _state(trial: Trial, measurements: Mapping[str, Measurement], budget: Budget) -> tuple[str, str | None]:
    if not trial.complete:
        return "failed", trial.reason
    known = dict(measurements)
    if "predicted_latency_ms" in known:
        known.setdefault("latency_ms", known["predicted_latency_ms"])
    broken = budget.broken({name: m.value for name, m in known.items()})
    if not broken:
        return "complete", None
    return "infeasible", "; ".join(_broken(bound, known[bound.metric]) for bound in broken)


def _broken(bound: Bound, m: Measurement) -> str:
    return f"{bound.what.title} {bound.what.format(m.value)} ({m.provenance}) breaks {bound}"


# --------------------------------------------------------------------------- the whole


def load_results(study: Study) -> ReportData:
    """Everything that a report says about a study, whatever state it is in.

    Raises:
        StudyError: a file of the study is damaged, or there is nothing yet.
    """

    config, about = study.config, read_about(study)
    finalists, trials = load_finalists(study), read_trials(study)
    budget = Budget.parse(config.budget)
    data = about["data"]
    return ReportData(
        title=study.path.resolve().name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        space_text=about["space"]["text"],
        space_size=about["space"]["size"],
        input=about["space"]["input"],
        data=_data_text(data),
        objectives=tuple(
            FINAL_METRIC.get(name, name) for name in search_metrics(config.search.objectives, config.rating)
        ),
        budget={bound.metric: (_finite(bound.low), _finite(bound.high)) for bound in budget.bounds},
        trials=table(trials, finalists, budget),
        references=known_table(load_known(study)),
        configuration=config.model_dump(exclude_none=True),
        environment={"versions": about["versions"], "profile": about["profile"]},
        notes=tuple(_notes(config, data, trials, finalists)),
        audit=load_audit(study),
        left_out=tuple(data["skipped"]),
    )


def write_results(study: Study, results: ReportData | None = None) -> None:
    """Write results.parquet, and results.csv without the architectures, each at once or not at all."""
    trials = (results or load_results(study)).trials
    replace_file(study.results_file, lambda path: trials.to_parquet(path, index=False))
    small = trials.drop(columns="architecture")
    replace_file(study.results_file.with_suffix(".csv"), lambda path: small.to_csv(path, index=False))


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def _data_text(data: Mapping[str, Any]) -> str:
    images = ", ".join(f"{count:,} {split}" for split, count in data["images"].items())
    return f"{data['name']} ({data['layout']}), {len(data['classes'])} classes; images: {images}"


def _notes(
    config: StudyConfig, data: Mapping[str, Any], trials: list[Trial], finalists: list[Finalist]
) -> Iterable[str]:
    if not finalists:
        yield (
            f"The search is not finished: {len(trials):,} of {config.search.trials:,} candidates were evaluated, and "
            "no network was fine-tuned and measured to the end. Latency is predicted and accuracy estimated."
        )
    noisy = sum(finalist.noisy for finalist in finalists)
    if noisy:
        yield (
            f"The machine was noisy while latency was measured ({noisy} of {len(finalists)} networks): best cases "
            "hold, but measure again on a quiet machine before small differences decide."
        )
    left = sum(not finalist.front for finalist in finalists)
    if 0 < left < len(finalists):
        yield f"{left} of {len(finalists)} networks left the front, or broke the budget, once they were measured."
    stopped = sum(trial.stopped for trial in trials)
    if stopped:
        yield (
            f"{stopped:,} of {len(trials):,} trainings were stopped early, where others were better in accuracy and costs "
            "together: they are shown with the accuracy they had reached, and were not considered for the front."
        )
    failed = [trial for trial in trials if not trial.complete]
    if failed:
        count = f"{len(failed)} candidate{'' if len(failed) == 1 else 's'}"
        yield f"{count} failed{'' if len(failed) == 1 else '; the first'}: {failed[0].reason}"
    left_out = data["skipped"]
    if len(left_out) == 1:
        yield f"Left out of the data: {left_out[0]}"
    elif left_out:
        yield f"{len(left_out):,} files, images or rows were left out of the data; they are listed at the end."
