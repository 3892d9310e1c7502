"""fvcore's walk over a traced module, with the costs of `operators` and of the user; any other operator is an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from . import operators
from .operators import FREE_OPERATORS, CostError, Handle, Tally, Value, argument, numel, shape

CostFunction = Callable[[Sequence[Any], Sequence[Any]], int]
"""From the arguments and results of an operator to its multiply-adds; see `cost.register_cost`."""

_registered: dict[str, Handle] = {}


def registered(cost: CostFunction, contraction: bool) -> Handle:
    """The handler of a cost function that a user gives."""

    def count(inputs: list[Value], outputs: list[Value]) -> Tally:
        macs = cost([argument(value) for value in inputs], [shape(value) for value in outputs])
        return operators.contraction(macs, numel(outputs[0])) if contraction else operators.other(macs)

    return count


def add_handle(operator: str, handle: Handle) -> None:
    """Use `handle` for every operator called `operator` in a traced graph."""
    _registered[operator] = handle


def registered_handles() -> dict[str, Handle]:
    """What `add_handle` was given, by operator."""
    return dict(_registered)


def tally(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tally:
    """The counts of one forward pass.

    Raises:
        CostError: an operator has no known cost.
    """
    from fvcore.nn.jit_analysis import JitModelAnalysis

    analysis = JitModelAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.set_op_handle(**dict.fromkeys(FREE_OPERATORS) | operators.handles() | _registered)
    counts: Tally = analysis.by_operator()
    unknown = analysis.unsupported_ops()
    if unknown:
        raise CostError(_unknown_message(module, unknown, analysis.unsupported_ops))
    return counts


def _unknown_message(module: nn.Module, unknown: Counter[str], inside: Callable[[str], Counter[str]]) -> str:
    lines = []
    for operator, times in sorted(unknown.items()):
        names = [name for name, _ in module.named_modules() if name and inside(name)[operator]]
        where = _described(module, _innermost(names))
        lines.append(f"no cost is known for the operator {operator}, used {times} time(s) in {where}")
    example = min(unknown)
    return (
        "; ".join(lines) + ". Say what it costs: archfront.hw_profiles.cost.register_cost"
        f"({example!r}, lambda inputs, outputs: <multiply-adds from the shapes of the arguments and results>)"
    )


def _innermost(names: list[str]) -> list[str]:
    return [name for name in names if not any(other.startswith(f"{name}.") for other in names)]


def _described(module: nn.Module, names: Iterable[str]) -> str:
    inner = ", ".join(f"{name} ({type(module.get_submodule(name)).__name__})" for name in names)
    return f"{type(module).__name__}: {inner}" if inner else type(module).__name__
