"""A model of a convolution accelerator on an FPGA: latency, energy and resources of a network, all *modelled*.

The template: a buffer streams windows of the input, P processing elements with W multipliers each compute P output
channels at a time, a stage behind them adds, rectifies and pools. Layers run one after another and meet in main memory:

    cycles of a layer = max(computing, moving) + set-up
    computing = ceil(Cout / P) * Hout * Wout * ceil(Cin * k * k / W) + filling the pipeline
    moving    = (input * ceil(Cout / P) + weights + output) / (bytes of the bus a cycle)

A fully connected layer is a convolution with a single output position. What the template cannot do (grouped and
depthwise convolutions, attention, shortcuts) is an error that names it, never free.

Bjerge, Schougaard, Larsen, 2021, A scalable and efficient convolutional neural network accelerator using HLS for a
System on Chip design.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import nn

from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError, nearest
from archfront.space.types import FeatureType

from . import liveness
from .metrics import Measurement
from .operators import Value, constant, shape


class AcceleratorError(ArchfrontError):
    """A network or a setting that the accelerator cannot have: says which layer or field, and what it takes."""


# --------------------------------------------------------------------------- hardware


@dataclass(frozen=True)
class Board:
    """A device and what it takes.

    Args:
        dsp: multipliers on it.
        bram: blocks of 36 Kibit of memory on it.
        static_watts: taken whatever runs, processor system included.
        mac_picojoules: of one multiply-add of 16 bits, above that; other widths in proportion.
        byte_picojoules: of moving one byte to or from main memory.
    """

    dsp: int
    bram: int
    static_watts: float
    mac_picojoules: float = 15.0
    byte_picojoules: float = 120.0


BOARDS: dict[str, Board] = {
    "zynq7020": Board(dsp=220, bram=140, static_watts=1.8),
    "ultra96": Board(dsp=360, bram=216, static_watts=2.465),
    "zcu104": Board(dsp=1728, bram=312, static_watts=5.0),
}
"""Resources are the vendor's. Powers are assumptions: for the Ultra96 such that VGG-16 takes the published 2.63 W."""

SET_UP_CYCLES, FILL_CYCLES = 2000, 32
"""Of every layer: writing its registers and starting its transfers, and filling the pipeline."""

ACTIVATION_BITS, ACCUMULATOR_BITS, BRAM_BITS = 16, 32, 36 * 1024

CHOICES: dict[str, tuple[Any, ...]] = {
    "pe": (2, 4, 8, 16, 32),
    "mac_width": (4, 8, 16, 32),
    "weight_bits": (8, 12, 16),
    "frac_bits": tuple(range(6, 15)),
    "clock_mhz": (100, 150, 200),
    "bus_bits": (32, 64, 128),
    "device": tuple(BOARDS),
}
"""The parameters of the template and their values."""


@dataclass(frozen=True)
class AcceleratorConfig:
    """One setting of the template.

    Args:
        pe: processing elements P: output channels at a time.
        mac_width: multipliers W in each.
        weight_bits: width of a weight.
        frac_bits: how many of them are behind the point, Q2.14 by default.
        clock_mhz: clock.
        bus_bits: width of the bus to main memory.
        device: the board.

    Raises:
        AcceleratorError: a value that the template does not have.
    """

    pe: int = 16
    mac_width: int = 16
    weight_bits: int = 16
    frac_bits: int = 14
    clock_mhz: int = 200
    bus_bits: int = 64
    device: str = "ultra96"

    def __post_init__(self) -> None:
        if self.device not in BOARDS:
            raise AcceleratorError(f"unknown board {self.device!r}{nearest(self.device, BOARDS)}")
        for name, values in CHOICES.items():
            if getattr(self, name) not in values:
                raise AcceleratorError(f"{name} must be one of {values}, got {getattr(self, name)!r}")
        if self.frac_bits >= self.weight_bits:
            raise AcceleratorError(f"{self.frac_bits} bits behind the point leave no sign in {self.weight_bits} bits")

    @property
    def board(self) -> Board:
        """The device."""
        return BOARDS[self.device]

    @property
    def dsp(self) -> int:
        """Multipliers: one a multiply-add, half of one where two of 8 bits share it."""
        return self.pe * self.mac_width // (2 if self.weight_bits == 8 else 1)

    def __str__(self) -> str:
        return (
            f"{self.device}: {self.pe} x {self.mac_width} MACs, Q{self.weight_bits - self.frac_bits}.{self.frac_bits}, "
            f"{self.clock_mhz} MHz, bus of {self.bus_bits} bits"
        )


def configurations(device: str | None = None, **fixed: Any) -> Iterator[AcceleratorConfig]:
    """Every setting of the template, or those with the values given; formats with as many bits behind the point as fit.

    How many bits stand behind the point costs nothing in hardware, so each width comes with one number of them.
    """
    given = fixed | ({"device": device} if device else {})
    values = {name: (given[name],) if name in given else choices for name, choices in CHOICES.items()}
    if "frac_bits" not in given:
        del values["frac_bits"]
    for setting in product(*values.values()):
        chosen = dict(zip(values, setting, strict=True))
        yield AcceleratorConfig(**{"frac_bits": chosen["weight_bits"] - 2} | chosen)


# --------------------------------------------------------------------------- networks


@dataclass(frozen=True)
class Layer:
    """What the accelerator runs in one go.

    Args:
        kind: "conv", "pool" or "linear".
        in_channels, out_channels: channels, or features of a linear layer.
        kernel, in_size, out_size: height and width.
        bias: whether there is one, 32 bits a channel.
    """

    kind: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    in_size: tuple[int, int] = (1, 1)
    out_size: tuple[int, int] = (1, 1)
    bias: bool = True

    @property
    def macs(self) -> int:
        """Multiply-adds; pooling has none."""
        return 0 if self.kind == "pool" else self.out_channels * math.prod(self.out_size) * self.window

    @property
    def window(self) -> int:
        """Numbers that one output is computed from."""
        return math.prod(self.kernel) * (1 if self.kind == "pool" else self.in_channels)

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return 0 if self.kind == "pool" else self.out_channels * self.window


def layers_of(module: nn.Module, x: FeatureType) -> list[Layer]:
    """The layers of a network that the accelerator can run; normalisation is folded and rectifying is free.

    Raises:
        AcceleratorError: the network holds something else; names the operator.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        graph = liveness.trace(module.eval(), x.arguments(make=torch.zeros, dtype=torch.float32))
    return [layer for node in graph.nodes() for layer in _layer(node, node.kind(), list(node.inputs()))]


_FREE = frozenset(
    f"aten::{name}{suffix}"
    for name in ("relu", "batch_norm", "flatten", "view", "reshape", "dropout", "feature_dropout", "size", "Int")
    for suffix in ("", "_")
)
"""Folded into the layer before, done by the stage behind it, or nothing at all."""


def _layer(node: Any, kind: str, inputs: list[Value]) -> Iterator[Layer]:
    if (kind.startswith("prim::") and kind != "prim::PythonOp") or kind in _FREE:
        return
    sizes = [shape(value) for value in inputs]
    out = shape(node.outputsAt(0))
    if kind in ("aten::_convolution", "aten::_convolution_mode") and out is not None and len(out) == 4:
        (_, channels, *size), (_, per_group, *kernel) = sizes[0], sizes[1]  # type: ignore[misc]
        if per_group != channels:
            raise AcceleratorError(
                f"the accelerator has no grouped convolutions: {channels} channels in groups of {per_group}"
            )
        if kind == "aten::_convolution" and (constant(inputs[6]) or set(constant(inputs[5])) != {1}):
            raise AcceleratorError("the accelerator has no transposed or dilated convolutions")
        yield Layer("conv", channels, out[1], tuple(kernel), tuple(size), out[2:], sizes[2] is not None)
    elif kind == "aten::linear" and sizes[0] is not None and len(sizes[0]) == 2:
        yield Layer("linear", sizes[0][1], out[1], bias=sizes[2] is not None)  # type: ignore[index]
    elif kind in ("aten::max_pool2d", "aten::avg_pool2d"):
        window = constant(inputs[1])
        yield Layer("pool", out[1], out[1], tuple(window), sizes[0][2:], out[2:], False)  # type: ignore[index,arg-type]
    elif kind in ("aten::adaptive_avg_pool2d", "aten::mean"):
        size = sizes[0][2:]  # type: ignore[index]
        target = out[2:] if len(out) == 4 else (1, 1)  # type: ignore[index,arg-type]
        window = tuple(-(-a // b) for a, b in zip(size, target, strict=True))
        yield Layer("pool", out[1], out[1], window, size, target, False)  # type: ignore[index,arg-type]
    else:
        raise AcceleratorError(
            f"the accelerator cannot run {kind}: it has convolutions without groups, pooling, linear layers and ReLU"
        )


# --------------------------------------------------------------------------- model


@dataclass(frozen=True)
class LayerCost:
    """What one layer takes: cycles of computing, of moving bytes, and of both together with set-up."""

    layer: Layer
    compute_cycles: int
    move_cycles: int
    bytes: int

    @property
    def cycles(self) -> int:
        """Computing and moving overlap; setting the layer up does not."""
        return max(self.compute_cycles, self.move_cycles) + SET_UP_CYCLES

    @property
    def bound(self) -> str:
        """What it waits for, "compute" or "memory"."""
        return "compute" if self.compute_cycles >= self.move_cycles else "memory"


def layer_cost(layer: Layer, config: AcceleratorConfig) -> LayerCost:
    """The cycles of one layer, as the module states them."""
    passes = -(-layer.out_channels // config.pe)
    lanes = -(-layer.window // config.mac_width)
    compute = passes * math.prod(layer.out_size) * lanes + FILL_CYCLES
    word = ACTIVATION_BITS // 8
    sent = 1 if layer.kind == "pool" else passes
    given = layer.in_channels * math.prod(layer.in_size) * word * sent
    constants = -(-layer.weights * config.weight_bits // 8) + 4 * layer.out_channels * layer.bias
    moved = given + constants + layer.out_channels * math.prod(layer.out_size) * word
    return LayerCost(layer, compute, -(-moved * 8 // config.bus_bits), moved)


@dataclass(frozen=True)
class Estimate:
    """What a network would take on one setting of the accelerator. Every number is modelled, none measured.

    Args:
        config: the setting.
        layers: the cost of every layer.
    """

    config: AcceleratorConfig
    layers: tuple[LayerCost, ...]

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of the network."""
        return sum(cost.layer.macs for cost in self.layers)

    @cached_property
    def latency_ms(self) -> float:
        """Milliseconds an inference."""
        return sum(cost.cycles for cost in self.layers) / (1e3 * self.config.clock_mhz)

    @cached_property
    def energy_mj(self) -> float:
        """Millijoules an inference: static power over the latency, and what every multiply-add and byte takes."""
        board = self.config.board
        computing = self.macs * board.mac_picojoules * self.config.weight_bits / 16
        moving = sum(cost.bytes for cost in self.layers) * board.byte_picojoules
        return board.static_watts * self.latency_ms + (computing + moving) / 1e9

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.energy_mj / self.latency_ms

    @property
    def gops(self) -> float:
        """Operations in 1e9 a second, two for every multiply-add."""
        return 2 * self.macs / self.latency_ms / 1e6

    @property
    def gops_per_watt(self) -> float:
        """Operations in 1e9 for every joule."""
        return self.gops / self.watts

    @property
    def dsp(self) -> int:
        """Multipliers."""
        return self.config.dsp

    @cached_property
    def bram(self) -> int:
        """Blocks of memory: lines of the input, weights twice over, and accumulators, at their largest."""
        lines = max(c.layer.kernel[0] * c.layer.in_size[1] * c.layer.in_channels for c in self.layers)
        weights = max(c.layer.window * (c.layer.weights > 0) for c in self.layers) * self.config.pe
        sums = max(c.layer.out_size[1] for c in self.layers) * self.config.pe
        bits = (lines * ACTIVATION_BITS, 2 * weights * self.config.weight_bits, sums * ACCUMULATOR_BITS)
        return sum(-(-each // BRAM_BITS) for each in bits)

    @property
    def fits(self) -> bool:
        """Whether the board has the multipliers and the memory."""
        return self.dsp <= self.config.board.dsp and self.bram <= self.config.board.bram

    def measurements(self) -> dict[str, Measurement]:
        """Latency and energy as metrics, with their provenance."""
        return {name: Measurement(getattr(self, name), "modelled") for name in ("latency_ms", "energy_mj")}

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        names = ("latency_ms", "energy_mj", "watts", "gops", "gops_per_watt", "dsp", "bram", "fits", "macs")
        return {"provenance": "modelled", "config": asdict(self.config)} | {name: getattr(self, name) for name in names}


def estimate(layers: Iterable[Layer], config: AcceleratorConfig) -> Estimate:
    """What a network would take."""
    return Estimate(config, tuple(layer_cost(layer, config) for layer in layers))


# --------------------------------------------------------------------------- exploration


@dataclass(frozen=True)
class Design:
    """A network on a setting of the accelerator, one point of a joint search.

    Args:
        name: of the network.
        estimate: what it takes.
        accuracy: of the network, None where it is not given.
    """

    name: str
    estimate: Estimate
    accuracy: float | None = None

    @property
    def costs(self) -> tuple[float, ...]:
        """What is to be small: latency, multipliers, energy, and the error where an accuracy is given."""
        found = (self.estimate.latency_ms, float(self.estimate.dsp), self.estimate.energy_mj)
        return found if self.accuracy is None else (*found, -self.accuracy)


def explore(
    networks: Mapping[str, Sequence[Layer]],
    settings: Iterable[AcceleratorConfig] | None = None,
    accuracy: Mapping[str, float] | None = None,
) -> list[Design]:
    """The front over networks and settings together: latency, multipliers, energy, and accuracy where it is given.

    Args:
        networks: layers by name.
        settings: of the accelerator; all of them when not given.
        accuracy: of the networks by name.

    Returns:
        Designs that fit their board and that no other one beats, fastest first; empty where nothing fits.
    """
    settings = list(settings if settings is not None else configurations())
    designs = [
        Design(name, found, accuracy[name] if accuracy else None)
        for name, layers in networks.items()
        for found in (estimate(layers, config) for config in settings)
        if found.fits
    ]
    designs.sort(key=lambda design: design.costs)
    front: list[Design] = []
    for design in designs:  # nothing that comes later in this order can beat what came before
        if not any(all(a <= b for a, b in zip(kept.costs, design.costs, strict=True)) for kept in front):
            front.append(design)
    return front


def closest(
    layers: Sequence[Layer], settings: Iterable[AcceleratorConfig], latency_ms: float, watts: float
) -> Estimate:
    """Of the settings that fit, the one whose latency and power come nearest to what is given, as ratios.

    Raises:
        AcceleratorError: none fits.
    """
    found = [e for e in (estimate(layers, config) for config in settings) if e.fits]
    if not found:
        raise AcceleratorError("no setting of the accelerator fits its board with this network")
    return min(found, key=lambda e: abs(math.log(e.latency_ms / latency_ms)) + abs(math.log(e.watts / watts)))


def layers_of_architecture(architecture: Architecture) -> list[Layer]:
    """The layers of an architecture.

    Raises:
        AcceleratorError: it holds a part that the accelerator cannot run; names the part.
    """
    layers: list[Layer] = []
    for path, spec, x in architecture.parts:
        try:
            layers += layers_of(spec.build(x), x)
        except AcceleratorError as error:
            raise AcceleratorError(f"{path or type(spec).__name__}: {error}") from None
    return layers
