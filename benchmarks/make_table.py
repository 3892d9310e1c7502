"""A table that may ship: every architecture of a tiny space, trained alone on the built-in digits, counted and measured.

    python benchmarks/make_table.py [--folder DIR] [--output FILE] [--epochs N] [--seeds N] [--device PROFILE]

Each network is trained with every seed, then the latencies of all are measured in one run, so that they can be compared.
Trainings are kept in `--folder`: the same command goes on after an interruption. The file says how it was made, under
the key "made" of its metadata, and which of its columns are sites, so that

    archfront search --evaluator table:benchmarks/digits.parquet --objectives "accuracy:max, latency_ms"

needs to be told nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from archfront.evaluators.data import load_data
from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.table import Table
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.profile import profile
from archfront.hw_profiles.protocol import LatencyResult, Schedule, measure
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.types import Feature

INACTIVE = "-"
"""What a column says where the other choices leave its site out."""


def tiny(x: Feature, classes: int) -> Space:
    """240 networks of inverted residuals: few enough to train them all."""
    first = MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0))
    last = MBConv(expand=2.0, gate=one_of(None, SqueezeExcite()))
    return Space(
        x,
        Network(
            stem=ConvStem(width=8, stride=1),
            stages=(
                Stage(width=one_of(8, 16), depth=int_range(1, 2), block=first),
                Stage(width=one_of(16, 24, 32), stride=2, block=last),
            ),
            head=Classifier(classes=classes),
        ),
    )


def row(space: Space, architecture: Architecture) -> dict[str, Any]:
    """The choices, as text, and the exact costs of one network."""
    choices = space.choices(architecture)
    counted = {name: measurement.value for name, measurement in cost(architecture).measurements().items()}
    return {site: str(choices.get(site, INACTIVE)) for site in space.sites} | counted


def trained(alone: StandAlone, architecture: Architecture, seeds: int) -> dict[str, float]:
    """Validation accuracy, mean over seeds, and its standard deviation between them."""
    found = [alone.accuracy(architecture, seed).value for seed in range(seeds)]
    return {"accuracy": float(np.mean(found)), "accuracy.deviation": float(np.std(found, ddof=1)) if seeds > 1 else 0.0}


def make(options: argparse.Namespace) -> tuple[Table, Mapping[str, Any]]:
    """The table, and how it was made."""
    torch.set_num_threads(1)
    data = load_data("digits")
    space, recipe = tiny(data.input, len(data.classes)), Recipe(epochs=options.epochs)
    alone = StandAlone(options.folder, data, Classification(len(data.classes)), recipe)
    networks = sorted(space.within(None), key=lambda architecture: architecture.digest)
    rows = []
    for number, architecture in enumerate(networks, start=1):
        rows.append(row(space, architecture) | trained(alone, architecture, options.seeds))
        print(f"\r{number} of {len(networks)} trained", end="", flush=True)
    device = profile(options.device)
    schedule = Schedule(max_seconds=options.seconds, rounds=12)
    latencies = measure({a.digest: a for a in networks}, device, schedule)
    frame = pd.DataFrame(rows)
    frame["latency_ms"] = [round(latencies[a.digest].value_ms, 5) for a in networks]
    made = {
        "script": "benchmarks/make_table.py",
        "data": f"digits, {len(data.train)} images trained on, {len(data.validation)} scored",
        "training": recipe.model_dump() | {"seeds": options.seeds},
        "latency": how(device.model_dump(), next(iter(latencies.values()))),
        "versions": {"torch": torch.__version__},
    }
    return Table(frame, tuple(space.sites)), made


def how(device: Mapping[str, Any], result: LatencyResult) -> dict[str, Any]:
    """What latency means: the profile without where it stands, and how steady the machine was."""
    kept = ("processor", "runtime", "runtime_version", "provider", "threads", "precision", "batch")
    return {key: device[key] for key in kept} | {"noisy": result.noisy, "reference_spread": result.health.spread}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=Path("runs/make-table"), help="where trainings are kept")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "digits.parquet")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--device", default="local-cpu", help="the profile that latency is measured on")
    parser.add_argument("--seconds", type=float, default=60, help="for timing")
    chosen = parser.parse_args()
    table, made = make(chosen)
    table.write(chosen.output, made)
    print(f"\n{len(table)} architectures: {chosen.output}")
