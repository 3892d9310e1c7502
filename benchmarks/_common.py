"""What every benchmark script shares: options, the table it prints, the JSON object it writes.

A script measures one claim:

    def measure(run: Run) -> Figures: ...

    if __name__ == "__main__":
        main("cost", "what is claimed, in one sentence", measure)
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("archfront", "torch", "numpy", "fvcore", "optuna", "onnx", "onnxruntime", "scikit-learn", "pandas", "ray")


@dataclass(frozen=True)
class Run:
    """How a script was asked to run. `quick` ends within a minute; every random choice follows from `seed`."""

    quick: bool
    seed: int


Figures = Mapping[str, Any]
"""What was measured, by name; plain JSON values. A list of mappings is printed as a table of its own."""


@dataclass
class Timer:
    """Seconds by the clock on the wall and on the processor, inside a `with` block."""

    wall: float = 0.0
    cpu: float = 0.0
    _start: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    def __enter__(self) -> Timer:
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall = time.perf_counter() - self._start[0]
        self.cpu = time.process_time() - self._start[1]


def main(name: str, claim: str, measure: Callable[[Run], Figures], argv: Sequence[str] | None = None) -> None:
    """Run `measure` as the command line asks, print its figures, write them where `--json` says."""
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--quick", action="store_true", help="a smaller measurement that ends within a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with Timer() as timer:
        figures = measure(Run(quick=options.quick, seed=options.seed))
    show(claim, figures)
    if options.json is not None:
        record = {
            "benchmark": name,
            "claim": claim,
            "command": shlex.join(["python", f"benchmarks/{name}.py", *(sys.argv[1:] if argv is None else argv)]),
            "quick": options.quick,
            "seed": options.seed,
            "seconds": round(timer.wall, 1),
            "figures": dict(figures),
            "versions": versions(),
            "machine": machine(),
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def show(claim: str, figures: Figures) -> None:
    """Print the single figures as one table, and every list of mappings as another."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    single = Table("figure", "value", title=claim)
    for name, value in figures.items():
        if not _is_table(value):
            single.add_row(name, text(value))
    console.print(single)
    for name, rows in figures.items():
        if _is_table(rows):
            table = Table(*rows[0], title=name)
            for row in rows:
                table.add_row(*map(text, row.values()))
            console.print(table)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def text(value: object) -> str:
    """A figure for people: four significant digits, thousands separated."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return f"{value:,}" if type(value) is int else str(value)


def versions() -> dict[str, str]:
    """Python and every library of `LIBRARIES` that is installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The kind of machine, not its name: processor, cores, memory, operating system, accelerator."""
    described: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        described["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    if hasattr(os, "getloadavg"):
        described["load"] = round(os.getloadavg()[0], 1)
    if torch.cuda.is_available():
        described["accelerator"] = torch.cuda.get_device_name()
    return described


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
