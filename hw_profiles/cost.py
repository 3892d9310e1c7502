"""Exact cost of a network: multiply-adds, parameters, activations, peak activation memory, by counting every part once.

The unit is one multiply-add, which fvcore and most papers print as a FLOP; `operators` states what counts and what is
free. The costs of the parts of an architecture add up to the cost of the whole network to the last unit, so only parts
that no earlier architecture had are ever traced.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
from torch import nn

from archfront.space.architecture import Architecture
from archfront.space.network import Part
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

from . import counting, liveness
from .counting import CostFunction
from .metrics import Measurement
from .operators import CostError

__all__ = ["Cost", "CostError", "cost", "cost_of_parts", "count", "part_cost", "register_cost"]


@dataclass(frozen=True)
class Cost:
    """What one forward pass of one sample (batch 1, float32, evaluation mode) takes. All numbers are exact integers.

    Args:
        macs: multiply-adds of all operators, in the convention of `operators`.
        contractions: those of convolutions, matrix products and recurrent cells alone; other tools count the same.
        params: elements of all distinct parameters; the running statistics of normalisation are none.
        activations: elements of the results of convolutions and matrix products (Radosavovic et al., 2020, Designing
            Network Design Spaces), as fvcore counts them; fused attention as the two products that it is.
        peak_bytes: the most bytes of activations alive at once, as `liveness` defines it.
    """

    macs: int = 0
    contractions: int = 0
    params: int = 0
    activations: int = 0
    peak_bytes: int = 0

    def measurements(self) -> dict[str, Measurement]:
        """One exact measurement for every metric of this name."""
        return {name: Measurement(value, "exact") for name, value in asdict(self).items() if name != "contractions"}


def cost(architecture: Architecture) -> Cost:
    """The cost of an architecture: the sum over its parts, for `peak_bytes` the largest.

    Where the parts run one after the other that is the peak of the whole network; where a result waits while other
    parts run (pyramids, necks), the whole network holds that result besides.

    Raises:
        CostError: a part cannot be counted; names the part.
    """
    return cost_of_parts(architecture.parts)


def cost_of_parts(parts: Iterable[Part]) -> Cost:
    """The cost of parts that run one after the other; see `cost`."""
    macs = contractions = params = activations = peak = 0
    for path, spec, x in parts:
        try:
            part = part_cost(spec, x)
        except CostError as error:
            raise CostError(f"{path or type(spec).__name__}: {error}") from None
        macs += part.macs
        contractions += part.contractions
        params += part.params
        activations += part.activations
        peak = max(peak, part.peak_bytes)
    return Cost(macs, contractions, params, activations, peak)


@lru_cache(maxsize=1 << 16)
def part_cost(spec: Spec, x: FeatureType) -> Cost:
    """The cost of the module of one spec for an input type; counted once. Leaves the random state alone."""
    with torch.random.fork_rng(devices=()):
        return count(spec.build(x), x)


def count(module: nn.Module, x: FeatureType) -> Cost:
    """The cost of a module that is fed `x`, counted by fvcore on one trace on the CPU.

    Raises:
        CostError: an operator has no known cost, or the module holds parameters that it never uses.
    """
    inputs, tensors = x.arguments(make=torch.zeros, dtype=torch.float32), len(x.shapes)
    with _tracing(module):
        tally = counting.tally(module, inputs)
        graph = liveness.trace(module, inputs)
        unused = liveness.unused_parameters(module, graph, tensors)
        peak = liveness.peak_bytes(graph, tensors)
    if unused:
        raise CostError(f"{type(module).__name__} holds parameters that its forward never uses: {', '.join(unused)}")
    params = sum(parameter.numel() for parameter in module.parameters())
    return Cost(tally["macs"], tally["contractions"], params, tally["activations"], peak)


def register_cost(operator: str, macs: CostFunction, *, contraction: bool = False) -> None:
    """Say what an operator costs, for operators of your own and for those that `operators` does not know.

        register_cost("mylib::deform_conv", lambda inputs, outputs: math.prod(outputs[0]) * math.prod(inputs[1][1:]))

    Args:
        operator: its name in a traced graph, as `CostError` prints it: `namespace::name`, or `prim::PythonOp.Name`
            for a `torch.autograd.Function` called Name.
        macs: from the arguments and results of one call to its multiply-adds. A tensor is given as its shape (a
            tuple), a list as a list, any other argument as its value.
        contraction: whether it is a convolution or matrix product, and so counts as contraction and activation too.
    """
    counting.add_handle(operator, counting.registered(macs, contraction))
    part_cost.cache_clear()


_lock = threading.Lock()


@contextmanager
def _tracing(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, warnings and fused transformer layers, one thread at a time; all put back."""
    modes = {part: part.training for part in module.modules()}
    with _lock, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fused = torch.backends.mha.get_fastpath_enabled()
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            module.eval()
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            for part, training in modes.items():
                part.training = training
