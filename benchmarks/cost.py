"""Exact cost at search speed: the cached sum over parts against fvcore tracing the same whole networks, in one run.

    python benchmarks/cost.py [--quick] [--seed N] [--json FILE]

Every network compared is costed in three ways: from the parts (`cost`), by tracing the whole network with fvcore
(`count`), and by torch's own counter on the meta device (contractions only). The speed of `cost` is for architectures
made anew of parts that were counted before; that of fvcore is for its bare `FlopCountAnalysis` of networks built
beforehand, which knows neither attention nor most other operators.
"""

from __future__ import annotations

import logging
import random
import warnings

import torch
from _common import Figures, Run, Timer, main
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archfront.hw_profiles.cost import Cost, cost, count, part_cost
from archfront.space.architecture import Architecture
from archfront.space.domains import int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import FeatureType, Image

MOBILE = MBConv(kernel=one_of(3, 5, 7), expand=one_of(3, 4, 6), gate=one_of(None, SqueezeExcite()))
HYBRID = one_of(MOBILE, MetaFormer(mixer=one_of(WindowAttention(window=4), LargeKernel(), SelfAttention())))

SPACE = Space(
    input=Image(3, 64, 64),
    network=Network(
        stem=ConvStem(width=one_of(16, 24), stride=2),
        stages=(
            Stage(width=one_of(16, 24), depth=int_range(1, 2), block=MOBILE),
            Stage(width=one_of(32, 48), depth=int_range(1, 3), stride=2, block=MOBILE),
            Stage(width=one_of(64, 96), depth=int_range(1, 4), stride=2, block=HYBRID),
        ),
        head=Classifier(classes=10),
    ),
)


def bare_fvcore(module: nn.Module, x: FeatureType) -> int:
    """fvcore's count as it comes, without the handlers of archfront."""
    analysis = FlopCountAnalysis(module.eval(), x.example(make=torch.zeros))
    return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def torch_contractions(module: nn.Module, x: FeatureType) -> int:
    """Half of what torch's own counter finds on the meta device."""
    module = module.eval().to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*x.example(make=torch.zeros, device="meta"))
    return int(counter.get_total_flops()) // 2


def sampled(run: Run, number: int) -> list[Architecture]:
    """The same random architectures at every call, made anew."""
    rng = random.Random(run.seed)
    return [SPACE.sample(rng) for _ in range(number)]


def timed(architectures: list[Architecture]) -> Timer:
    """How long `cost` takes for architectures just made."""
    with Timer() as timer:
        for architecture in architectures:
            cost(architecture)
    return timer


def measure(run: Run) -> Figures:
    """Speed over many architectures, agreement over some."""
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    many, some = (300, 20) if run.quick else (2000, 50)

    part_cost.cache_clear()
    cold = timed(sampled(run, many))
    warm = min((timed(sampled(run, many)) for _ in range(5)), key=lambda timer: timer.cpu)

    architectures = sampled(run, some)
    modules = [architecture.build() for architecture in architectures]
    with Timer() as traced:
        bare = [bare_fvcore(module, SPACE.input) for module in modules]
    costs = [cost(architecture) for architecture in architectures]
    checks = [agreement(module, found) for module, found in zip(modules, costs, strict=True)]

    return {
        "architectures": many,
        "distinct_parts": part_cost.cache_info().currsize,
        "cold_per_second": many / cold.wall,
        "warm_per_second": many / warm.wall,
        "warm_per_core_second": many / warm.cpu,
        "bare_fvcore_per_second": some / traced.wall,
        "bare_fvcore_per_core_second": some / traced.cpu,
        "times_faster": (many / warm.cpu) / (some / traced.cpu),
        "networks_compared": some,
        "parts_equal_whole": sum(whole for whole, _ in checks),
        "contractions_equal_torch": sum(contractions for _, contractions in checks),
        "bare_fvcore_misses_at_most_percent": 100 * max(1 - b / c.macs for b, c in zip(bare, costs, strict=True)),
    }


def agreement(module: nn.Module, found: Cost) -> tuple[bool, bool]:
    """Whether the sum over parts is the count of the whole network, and whether its contractions are torch's."""
    whole = count(module, SPACE.input)
    return whole == found, torch_contractions(module, SPACE.input) == found.contractions


if __name__ == "__main__":
    main("cost", "exact cost of an architecture from cached parts, at search speed", measure)
