"""A made-up study over a real space: every number comes from a formula, so tests can recompute what a report says."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from archfront.reports.report import ReportData
from archfront.space.architecture import Architecture
from archfront.space.domains import int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import Feature, Image


def example_space() -> Space:
    mbconv = MBConv(kernel=one_of(3, 5, 7), expand=one_of(3.0, 4.0, 6.0), gate=one_of(None, SqueezeExcite()))
    meta = MetaFormer(mixer=one_of(SelfAttention(), LargeKernel()))
    return Space(
        input=Image(3, 32, 32),
        network=Network(
            stem=ConvStem(width=one_of(16, 24)),
            stages=(
                Stage(width=one_of(24, 32), depth=int_range(1, 2), stride=1, block=mbconv),
                Stage(width=one_of(48, 64), depth=int_range(1, 3), stride=2, block=mbconv),
                Stage(width=one_of(64, 96), depth=int_range(1, 3), stride=2, block=one_of(mbconv, meta)),
            ),
            head=Classifier(classes=10),
        ),
    )


def _trial(number: int, architecture: Architecture, space: Space, noise: random.Random) -> dict[str, Any]:
    features = [part.input for part in architecture.parts if isinstance(part.input, Feature)]
    params = sum(9 * f.channels**2 for f in features)
    macs = sum(9 * f.channels**2 * f.positions for f in features)
    latency = (macs / 4e7) ** 2 / 0.15 + 0.03 * len(features)
    skill = 0.80 + 0.12 * (1 - math.exp(-latency)) + noise.gauss(0, 0.012)
    sites = {site: str(label) for site, label in space.choices(architecture).items()}
    row: dict[str, Any] = {
        "number": number,
        "state": "complete",
        "reason": None,
        "origin": noise.choice(["random", "nsga2 crossover", "mutation"]),
        "digest": architecture.digest,
        "architecture": json.dumps(architecture.to_dict()),
        "seconds": noise.uniform(0.4, 3.0),
        "front": False,
        "picked": False,
        "sites": json.dumps(sites),
    }
    for name, value, how, spread in (
        ("macs", macs, "exact", math.nan),
        ("params", params, "exact", math.nan),
        ("peak_bytes", 4 * max(math.prod(f.shapes[0]) for f in features), "exact", math.nan),
        ("predicted_latency_ms", latency * noise.gauss(1, 0.03), "predicted", 0.04 * latency),
        ("supernet_accuracy", skill, "measured", 0.015),
    ):
        row |= {name: value, f"{name}.provenance": how, f"{name}.spread": spread, f"{name}.samples": 1}
    return row


def _finish(row: dict[str, Any], noise: random.Random) -> None:
    final = row["supernet_accuracy"] + 0.04 + noise.gauss(0, 0.003)
    for name, value, spread, samples in (
        ("accuracy", final, 0.007, 1),
        ("test_accuracy", final - 0.005 + noise.gauss(0, 0.003), 0.008, 1),
        ("latency_ms", row["predicted_latency_ms"] * noise.gauss(1.02, 0.03), 0.012 * row["predicted_latency_ms"], 72),
    ):
        row |= {name: value, f"{name}.provenance": "measured", f"{name}.spread": spread, f"{name}.samples": samples}


def example_trials(count: int, seed: int = 0) -> pd.DataFrame:
    """`count` candidates: some over the budget of 1.3 ms, every 37th failed, the best finished with measurements."""
    space, noise = example_space(), random.Random(seed)
    rows = [_trial(n, space.sample(noise), space, noise) for n in range(count)]
    for row in rows:
        failed = row["number"] % 37 == 11
        if failed or row["predicted_latency_ms"] > 1.3:
            row |= {"supernet_accuracy": math.nan, "supernet_accuracy.spread": math.nan}
            row["state"] = "failed" if failed else "infeasible"
            row["reason"] = "loss became NaN in step 41" if failed else "predicted latency above 1.3 ms"
    best = -math.inf
    for row in sorted((r for r in rows if r["state"] == "complete"), key=lambda r: r["predicted_latency_ms"]):
        if row["supernet_accuracy"] > best:
            best = row["supernet_accuracy"]
            _finish(row, noise)
            row["measured"] = True
    finished = [row for row in rows if row.pop("measured", False)]
    for row in finished:
        row["front"] = not any(
            o["accuracy"] >= row["accuracy"] and o["latency_ms"] <= row["latency_ms"] and o is not row for o in finished
        )
    if finished:
        max((row for row in finished if row["front"]), key=lambda row: row["accuracy"])["picked"] = True
    table = pd.DataFrame(rows, columns=list(rows[0]) if not finished else list(finished[0]))
    table["number"] = table["number"].astype(int)
    return table


def example_data(trials: pd.DataFrame, **changes: Any) -> ReportData:
    references = pd.DataFrame(
        {
            "name": ["MobileNetV2 x0.35", "ResNet-18 x0.25"],
            "latency_ms": [0.81, 1.17], "latency_ms.provenance": "measured", "latency_ms.spread": [0.02, 0.03],
            "accuracy": [0.913, 0.921], "accuracy.provenance": "measured", "accuracy.spread": [0.008, 0.008],
            "params": [4.0e5, 7.0e5], "params.provenance": "exact",
        }
    )  # fmt: skip
    values: dict[str, Any] = {
        "title": "Made-up study for tests",
        "created": "2026-11-22T10:00:00+00:00",
        "space_text": str(example_space()),
        "space_size": example_space().size,
        "input": "3x32x32",
        "data": "made-up images",
        "objectives": ("accuracy", "latency_ms"),
        "budget": {"latency_ms": (None, 1.3), "params": (None, 5_000_000.0)},
        "trials": trials,
        "references": references,
        "configuration": {"search": {"trials": len(trials), "sampler": "nsga2"}, "budget": {"latency_ms": 1.3}},
        "environment": {"torch": "2.13.0", "machine": {"cores": 2}, "profile": "local-cpu, onnxruntime, 1 thread"},
        "notes": ("3 of 12 networks left the front after they were measured.",),
    }
    return ReportData(**{**values, **changes})


@pytest.fixture(scope="session")
def candidates() -> pd.DataFrame:
    return example_trials(300)


@pytest.fixture(scope="session")
def study(candidates: pd.DataFrame) -> ReportData:
    return example_data(candidates)


@pytest.fixture(scope="session")
def make_candidates() -> Callable[..., pd.DataFrame]:
    return example_trials


@pytest.fixture(scope="session")
def make_study() -> Callable[..., ReportData]:
    return example_data
