"""How well a latency table predicts whole networks that it never saw, and blocks that were not measured.

python benchmarks/predictor.py [--quick] [--seed N] [--json FILE]
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from _common import Figures, Run, main

from archfront.hw_profiles.calibration import Accuracy, accuracy, affine
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.profile import profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.table import LatencyTable
from archfront.space.domains import int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import Image

CONV = MBConv(kernel=one_of(3, 5, 7), expand=one_of(3, 4, 6), gate=one_of(None, SqueezeExcite()))
HYBRID = one_of(CONV, MetaFormer(mixer=one_of(SelfAttention(), LargeKernel(), AveragePool())))
SPACE = Space(
    input=Image(3, 32, 32),
    network=Network(
        stem=ConvStem(width=one_of(16, 24)),
        stages=(
            Stage(width=one_of(24, 32), depth=int_range(1, 3), stride=1, block=CONV),
            Stage(width=one_of(32, 48), depth=int_range(1, 3), stride=2, block=CONV),
            Stage(width=one_of(64, 96), depth=int_range(1, 3), stride=2, block=HYBRID),
        ),
        head=Classifier(classes=10),
    ),
)


def row(name: str, found: Accuracy) -> dict[str, Any]:
    return {"predictor": name, **found.to_dict()}


def run(options: Run) -> Figures:
    here = profile("local-cpu")
    held, pool = (
        [SPACE.sample(options.seed + i) for i in range(first, first + size)]
        for first, size in ((0, 16 if options.quick else 48), (1000, 200))
    )
    parts = list(dict.fromkeys((part.spec, part.input) for part in SPACE.parts()))
    table = LatencyTable(here)
    begin = time.monotonic()
    filled = table.fill(parts, limit=80 if options.quick else 200, seed=options.seed)
    building = time.monotonic() - begin
    unmeasured = [workload for workload in parts if workload not in table.blocks]
    assert table.interpolator is not None
    guessed = table.interpolator.predict(unmeasured)
    plain = {a.digest: table.predict(a).value for a in held}
    schedule = Schedule(max_seconds=8.0 if options.quick else 60.0, seed=options.seed)
    begin = time.monotonic()
    report = table.calibrate(pool, count=12, schedule=schedule)
    calibrating = time.monotonic() - begin
    results = measure({a.digest: a for a in held}, here, schedule)
    truth = np.array([results[a.digest].value_ms for a in held])
    taught = np.array([float(cost(net.architecture).macs) for net in table.nets])
    by_macs = affine(taught, taught, np.array([net.ms for net in table.nets]))
    macs = np.array([float(cost(a).macs) for a in held])
    predictions = [table.predict(a) for a in held]
    inside = [abs(p.value - t) <= (p.spread or 0.0) for p, t in zip(predictions, truth, strict=True)]
    rows = [
        row("plain sum of blocks", accuracy([plain[a.digest] for a in held], truth)),
        row("multiply-adds, affine fit", accuracy(by_macs(macs, macs), truth)),
        row("table, calibrated", accuracy([p.value for p in predictions], truth)),
        row("the same, left one out in calibration", report.left_out),
    ]
    table.fill(unmeasured, limit=len(unmeasured), max_seconds=60.0)
    blocks = accuracy(guessed, [table.blocks[workload].ms for workload in unmeasured])
    return {
        "distinct_blocks": len(parts),
        "blocks_measured": filled.measured,
        "table_seconds": building,
        "calibration_networks": len(table.nets),
        "calibration_seconds": calibrating,
        "repeatability": report.repeatability,
        "repeatability_tau": report.repeatability_tau,
        "spread_covers_share": float(np.mean(inside)),
        "noisy": any(result.noisy for result in results.values()),
        "held-out networks": rows,
        "blocks": [row("interpolated, measured afterwards", blocks)],
    }


if __name__ == "__main__":
    main("predictor", "A table of block latencies predicts whole networks within a few percent.", run)
