"""What of this machine archfront can use: packages, processor, memory, runtimes; each runtime really runs a network."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from archfront.space.architecture import Architecture

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what.
        state: "ok"; "missing", which is fine unless `required`; or "broken".
        detail: version, figure, or what went wrong.
        help: how to get it or mend it.
        required: whether a search needs it.
    """

    name: str
    state: State
    detail: str = ""
    help: str = ""
    required: bool = True

    @property
    def fatal(self) -> bool:
        """Whether archfront cannot do its work like this."""
        return self.required and self.state != "ok"


def checks() -> Iterator[Check]:
    """Everything, from cheap to dear; a check that fails does not stop the others."""
    yield Check("Python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield from packages()
    yield probe("Processor", processor)
    yield probe("Memory", memory, required=False)
    yield probe("Disk", disk)
    yield probe("torch on the CPU", run_torch, "pip install --force-reinstall torch")
    yield probe("ONNX Runtime on the CPU", run_onnx, "pip install --force-reinstall onnx onnxscript onnxruntime")
    yield from other_runtimes()
    yield cuda()


def packages() -> Iterator[Check]:
    """The packages that archfront declares, those for development left out."""
    from packaging.requirements import Requirement

    from archfront.hw_profiles.profile import ENGINES

    for line in requires("archfront") or ():
        requirement = Requirement(line)
        extra = _extra(line)
        if extra == "dev" or extra in ENGINES:  # runtimes have checks of their own
            continue
        wanted = f"archfront[{extra}]" if extra else f"{requirement.name}{requirement.specifier}"
        fix = f"pip install '{wanted}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Check(requirement.name, "missing", f"for {wanted}" if extra else "", fix, required=not extra)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Check(requirement.name, "ok", found, required=not extra)
        else:
            yield Check(requirement.name, "broken", f"{found}, needs {requirement.specifier}", fix, required=not extra)


def _extra(line: str) -> str:
    marker = line.partition(";")[2].replace("'", '"')
    return marker.partition('extra == "')[2].partition('"')[0]


def probe(name: str, run: Callable[[], str], help: str = "", required: bool = True) -> Check:
    """Run something, whatever happens."""
    try:
        return Check(name, "ok", run(), required=required)
    except Exception as error:  # a doctor reports every illness, and this one may be any
        return Check(name, "broken", f"{type(error).__name__}: {error}".splitlines()[0], help, required)


def processor() -> str:
    """Its name, and how many cores this process may use."""
    from archfront.hw_profiles.profile import local_profile

    found = local_profile("torch")
    return f"{found.processor}, {found.cores} logical cores, {found.system}"


def memory() -> str:
    """How much the machine has."""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def disk() -> str:
    """How much is free where studies would be kept."""
    return f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free in {Path.cwd()}"


def tiny() -> Architecture:
    """A network that is built and run in a moment."""
    from archfront.space.architecture import Architecture
    from archfront.space.library.block.mbconv import MBConv
    from archfront.space.library.head.classifier import Classifier
    from archfront.space.library.stem.convolution import ConvStem
    from archfront.space.network import Network, Stage
    from archfront.space.types import Image

    stage = Stage(width=8, block=MBConv(expand=2.0))
    return Architecture(Image(3, 16, 16), Network(stem=ConvStem(width=8), stages=(stage,), head=Classifier(classes=4)))


def run_torch() -> str:
    """Run a tiny network in torch eager."""
    import torch

    run_on("cpu")
    return f"runs a network; {torch.get_num_threads()} threads by default"


def run_onnx() -> str:
    """Convert a tiny network, run it in ONNX Runtime, and compare with torch."""
    from archfront.hw_profiles.profile import local_profile
    from archfront.hw_profiles.runtimes import RUNTIMES

    architecture = tiny()
    with tempfile.TemporaryDirectory() as folder:
        workload = (architecture.network, architecture.input)
        prepared = RUNTIMES["onnxruntime"].prepare("tiny network", workload, local_profile(), Path(folder))
    return f"runs a network; differs from torch by {prepared.difference:.1g} of the largest output"


def other_runtimes() -> Iterator[Check]:
    """What else latency can be measured on here: whether it is installed, and what converting for it needs."""
    from archfront.hw_profiles.profile import ENGINES, LatencyError, local_profile
    from archfront.hw_profiles.runtimes import RUNTIMES
    from archfront.hw_profiles.worker import installed

    for name, engine in ENGINES.items():
        title, version = f"Runtime {name}", installed(engine.package)
        if name in ("onnxruntime", "torch"):
            continue  # these are needed, and run
        if version is None:
            yield Check(title, "missing", help=f"pip install '{engine.install}'", required=False)
            continue
        try:
            RUNTIMES[name].require(local_profile(name))
            yield Check(title, "ok", f"{version}, {engine.provider}", required=False)
        except LatencyError as error:
            yield Check(title, "missing", str(error), required=False)


def cuda() -> Check:
    """A GPU, which training uses where there is one."""
    try:
        import torch
    except ImportError as error:
        return Check("GPU", "missing", str(error), required=False)
    if not torch.cuda.is_available():
        how = "training takes the CPU; for CUDA see pytorch.org/get-started"
        return Check("GPU", "missing", "torch sees none", how, required=False)

    def run() -> str:
        run_on("cuda")
        return f"runs a network on {torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"

    return probe("GPU", run, required=False)


def run_on(device: str) -> None:
    """One step of training of the tiny network."""
    import torch

    network = tiny().build().to(device)
    loss = network(torch.randn(4, 3, 16, 16, device=device)).square().mean()
    loss.backward()
    if not torch.isfinite(loss):
        raise ArithmeticError(f"the outputs are not finite: {loss}")
