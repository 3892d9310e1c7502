"""Networks of a study as exported files: members of the front, fine-tuned, and any other trial as it was rated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from archfront.evaluators.train import read_checkpoint
from archfront.reports.export import ExportResult, export
from archfront.search.about import read_about
from archfront.search.engine import Search
from archfront.search.final import Finalist, load_finalists
from archfront.search.progress import Reporter, Silent
from archfront.search.study import Study, StudyError
from archfront.space.architecture import Architecture


def finalist_of(study: Study, number: int | None = None) -> Finalist:
    """The finalist with this number, the picked one by default.

    Raises:
        StudyError: there is none; names the finalists.
    """
    finalists = load_finalists(study)
    found = next((f for f in finalists if (f.picked if number is None else f.number == number)), None)
    if found is not None:
        return found
    if not finalists:
        raise StudyError(
            f"{study.path} has no finalist yet: networks are fine-tuned when the search ends; "
            f"archfront search --study {study.path} goes on with it"
        )
    numbers = ", ".join(str(f.number) for f in sorted(finalists, key=lambda f: f.number))
    if number is None:
        raise StudyError(f"no finalist of {study.path} keeps the budget; give one by its number: {numbers}")
    raise StudyError(f"trial {number} of {study.path} is no finalist; finalists: {numbers}")


def network_of(study: Study, number: int | None, reporter: Reporter) -> tuple[Finalist, dict[str, Tensor]]:
    """A network of a study and its weights: a finalist's are its own, those of another trial what it was rated with.

    Args:
        number: of a trial; the picked finalist by default.

    Raises:
        StudyError: no trial has this number, or it failed.
    """
    if number is None or any(finalist.number == number for finalist in load_finalists(study)):
        finalist = finalist_of(study, number)
        return finalist, state_of(finalist.architecture, study.weights(finalist.architecture))
    search = Search(study, study.config, reporter)
    trial = next((trial for trial in search.log.trials if trial.number == number), None)
    if trial is None:
        raise StudyError(f"{study.path} has no trial {number}; its {len(search.log.trials)} trials count from 0")
    if not trial.complete:
        raise StudyError(f"trial {number} of {study.path} failed, so it has no weights: {trial.reason}")
    if search.config.evaluator == "supernet":
        search.raters.train()  # reads the checkpoint
    network = search.raters.network(trial.architecture)
    return Finalist(trial.number, trial.architecture, trial.measurements), network.state_dict()


def default_name(study: Study, finalist: Finalist) -> str:
    """The name of exported files: study and number as a Python identifier."""
    words = re.sub(r"\W+", "_", study.path.resolve().name, flags=re.ASCII).strip("_").lower()
    name = f"{words or 'network'}_{finalist.number}"
    return f"n{name}" if name[0].isdigit() else name


def export_network(
    study: Study,
    number: int | None,
    directory: Path,
    name: str | None = None,
    reporter: Reporter | None = None,
) -> ExportResult:
    """Write a network of a study with its weights, and a card with its metrics, its data and where it comes from.

    See `network_of`; the metrics of a trial that is no finalist are those of the search.
    """
    found, state = network_of(study, number, reporter or Silent())
    card = card_of(study, found)
    return export(found.architecture, state, directory, name=name or default_name(study, found), card=card)


def state_of(architecture: Architecture, checkpoint: Path) -> dict[str, Tensor]:
    """The `state_dict` of a network from the checkpoint of its fine-tuning.

    Checkpoints hold what training changes; other buffers (constants, counts of batches) are those of a new network.
    """
    _, tensors = read_checkpoint(checkpoint)
    trained = {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(("weight/", "buffer/"))}
    network = architecture.build()
    constant = {name: buffer for name, buffer in network.named_buffers() if not buffer.is_floating_point()}
    kept = network.state_dict().keys()
    return {name: value for name, value in {**constant, **trained}.items() if name in kept}


def card_of(study: Study, finalist: Finalist) -> Mapping[str, Any]:
    """What a model card says besides the architecture."""
    about = read_about(study)
    return {
        "metrics": {name: m.to_dict() for name, m in finalist.measurements.items()},
        "data": about["data"],
        "study": {
            "name": study.path.resolve().name,
            "trial": finalist.number,
            "front": finalist.front,
            "picked": finalist.picked,
            "noisy": finalist.noisy,
            "config": study.config.model_dump(mode="json"),
            "versions": about["versions"],
        },
        "profile": about["profile"],
    }
