"""Fixed-point numbers of the accelerator: choosing formats, training with them, and a simulator that is exact to the bit.

A number in Qm.n is an integer of m + n bits that stands for value * 2^n. Rounding goes to the nearest, overflow
saturates and never wraps. Weights and activations are multiplied into 32-bit accumulators, in which the bias is already
written, and shifted back to the format of the next layer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .accelerator import ACCUMULATOR_BITS, ACTIVATION_BITS, AcceleratorError


def limits(bits: int) -> tuple[int, int]:
    """The smallest and the largest integer of so many bits."""
    return -(1 << bits - 1), (1 << bits - 1) - 1


def quantise(values: Tensor, bits: int, fraction: int) -> Tensor:
    """Integers (int64) that stand for `values` with `fraction` bits behind the point: rounded, then saturated."""
    return torch.round(values.double() * 2.0**fraction).clamp(*limits(bits)).to(torch.int64)


def fraction_bits(largest: float, bits: int, wanted: int = 14) -> int:
    """How many bits can stand behind the point, at most `wanted`, so that a magnitude of `largest` does not overflow."""
    if not math.isfinite(largest):
        raise AcceleratorError(f"there is no fixed-point format for values up to {largest}")
    top = limits(bits)[1]
    fraction = wanted
    while round(largest * 2.0**fraction) > top:
        fraction -= 1
    return fraction


class FixedPoint(nn.Module):
    """Weights as the accelerator sees them, for training: forward rounds and clips, the gradient goes straight through.

    For `torch.nn.utils.parametrize.register_parametrization(conv, "weight", FixedPoint(16))`; the parameter itself
    stays in floating point.
    """

    def __init__(self, bits: int = 16, fraction: int | None = None) -> None:
        super().__init__()
        self.bits, self.fraction = bits, fraction

    def forward(self, values: Tensor) -> Tensor:
        fraction = self.fraction if self.fraction is not None else _fitting(values, self.bits)
        rounded = quantise(values.detach(), self.bits, fraction).to(values.dtype) / 2.0**fraction
        return values + (rounded - values).detach()


def _fitting(values: Tensor, bits: int, wanted: int = 14) -> int:
    return fraction_bits(float(values.detach().abs().max()), bits, wanted)


# --------------------------------------------------------------------------- networks in integers


@dataclass(frozen=True)
class FixedLayer:
    """A layer as the accelerator runs it.

    Args:
        kind: "conv", "linear", "max_pool" or "flatten".
        stride, padding, kernel: of convolutions and pooling, (height, width).
        rectified: whether ReLU follows.
        weight_fraction, in_fraction, out_fraction: bits behind the point of weights, input and output.
    """

    kind: str
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    kernel: tuple[int, int] = (1, 1)
    rectified: bool = False
    weight_fraction: int = 0
    in_fraction: int = 0
    out_fraction: int = 0


@dataclass(frozen=True)
class FixedNetwork:
    """A chain of layers with integer weights.

    Args:
        layers: in order.
        weights, biases: of every layer, None where it has none; biases in the format of the accumulator.
    """

    layers: tuple[FixedLayer, ...]
    weights: tuple[Tensor | None, ...]
    biases: tuple[Tensor | None, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """The network's outputs as floats, computed in integers from a batch of floats."""
        values = quantise(x, ACTIVATION_BITS, self.layers[0].in_fraction)
        for layer, weight, bias in zip(self.layers, self.weights, self.biases, strict=True):
            values = run_layer(layer, weight, bias, values)
        return values.double() / 2.0 ** self.layers[-1].out_fraction

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` (int16, and int32 biases) and `schedule.json`, the layers in order."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"{i}.weight": w.to(torch.int16) for i, w in enumerate(self.weights) if w is not None}
        tensors |= {f"{i}.bias": b.to(torch.int32) for i, b in enumerate(self.biases) if b is not None}
        save_file(tensors, folder / "weights.safetensors")
        schedule = [
            asdict(layer) | {"shift": layer.weight_fraction + layer.in_fraction - layer.out_fraction}
            for layer in self.layers
        ]
        (folder / "schedule.json").write_text(json.dumps(schedule, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> FixedNetwork:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        tensors = load_file(folder / "weights.safetensors")
        schedule: list[dict[str, Any]] = json.loads((folder / "schedule.json").read_text(encoding="utf-8"))
        layers = []
        for entry in schedule:
            del entry["shift"]
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
            layers.append(FixedLayer(**fields))
        found = {
            name: tuple(tensors[f"{i}.{name}"].long() if f"{i}.{name}" in tensors else None for i in range(len(layers)))
            for name in ("weight", "bias")
        }
        return FixedNetwork(tuple(layers), found["weight"], found["bias"])


def run_layer(layer: FixedLayer, weight: Tensor | None, bias: Tensor | None, values: Tensor) -> Tensor:
    """One layer on integers (int64, of `ACTIVATION_BITS`), exact to the bit.

    Sums are exact: products of 16 bits and up to 2^22 of them stay below 2^53, where doubles hold every integer. They
    saturate at the accumulator's 32 bits, once, after the last product and the bias.
    """
    if layer.kind == "flatten":
        return values.flatten(1)
    if layer.kind == "max_pool":
        return F.max_pool2d(values.double(), layer.kernel, layer.stride, layer.padding).long()
    assert weight is not None
    if layer.kind == "conv":
        sums = F.conv2d(values.double(), weight.double(), None, layer.stride, layer.padding).long()
        sums += 0 if bias is None else bias.view(1, -1, 1, 1)
    else:
        sums = (values.double() @ weight.double().T).long()
        sums += 0 if bias is None else bias
    sums = sums.clamp(*limits(ACCUMULATOR_BITS))
    if layer.rectified:
        sums = sums.clamp(min=0)
    return shifted(sums, layer.weight_fraction + layer.in_fraction - layer.out_fraction)


def shifted(sums: Tensor, shift: int) -> Tensor:
    """sums / 2^shift, rounded to the nearest (halves upwards) and saturated to the width of an activation."""
    if shift > 0:
        sums = (sums + (1 << shift - 1)) >> shift
    else:
        sums = sums << -shift
    return sums.clamp(*limits(ACTIVATION_BITS))


def convert(network: nn.Sequential, example: Tensor, weight_bits: int = 16, wanted: int = 14) -> FixedNetwork:
    """A chain of convolutions, linear layers, ReLU, max-pooling and flattening in fixed point.

    The bits behind the point are chosen layer by layer: for weights from their largest magnitude, for activations from
    the largest one that `example` causes, with one bit to spare; at most `wanted`.

    Args:
        network: in evaluation mode; batch normalisation folded into the convolutions.
        example: a batch of typical inputs.
        weight_bits: width of a weight.
        wanted: bits behind the point at most.

    Raises:
        AcceleratorError: a layer of another sort; names it.
    """
    modules = [module for module in network if not isinstance(module, (nn.Dropout, nn.Identity))]
    layers, weights, biases = list[FixedLayer](), list[Tensor | None](), list[Tensor | None]()
    x = example
    fraction = _activation_fraction(x, wanted)
    for index, module in enumerate(modules):
        if isinstance(module, nn.ReLU):
            continue
        rectified = index + 1 < len(modules) and isinstance(modules[index + 1], nn.ReLU)
        with torch.no_grad():
            x = module(x).relu() if rectified else module(x)
        layer, weight, bias, fraction = _fixed(module, x, rectified, fraction, weight_bits, wanted)
        layers.append(layer)
        weights.append(weight)
        biases.append(bias)
    return FixedNetwork(tuple(layers), tuple(weights), tuple(biases))


def _activation_fraction(x: Tensor, wanted: int) -> int:
    return _fitting(2 * x, ACTIVATION_BITS, wanted)


def _fixed(
    module: nn.Module, x: Tensor, rectified: bool, given: int, bits: int, wanted: int
) -> tuple[FixedLayer, Tensor | None, Tensor | None, int]:
    """The layer, its weights and bias, and how many bits its result has behind the point."""
    if isinstance(module, nn.Flatten):
        return FixedLayer("flatten", in_fraction=given, out_fraction=given), None, None, given
    if isinstance(module, nn.MaxPool2d) and not rectified and module.dilation == 1 and not module.ceil_mode:
        pool = FixedLayer(
            "max_pool", _pair(module.stride), _pair(module.padding), _pair(module.kernel_size), False, 0, given, given
        )
        return pool, None, None, given
    if isinstance(module, nn.Conv2d) and module.groups == 1 and set(_pair(module.dilation)) == {1}:
        if isinstance(module.padding, str) or module.padding_mode != "zeros":
            raise AcceleratorError("the accelerator pads with zeros, by numbers")
        kind, geometry = "conv", (_pair(module.stride), _pair(module.padding), _pair(module.kernel_size))
    elif isinstance(module, nn.Linear):
        kind, geometry = "linear", ((1, 1), (0, 0), (1, 1))
    else:
        raise AcceleratorError(f"the accelerator cannot run {module}")
    fraction = _fitting(module.weight, bits, wanted)
    out = _activation_fraction(x, wanted)
    weight = quantise(module.weight.detach(), bits, fraction)
    bias = None if module.bias is None else quantise(module.bias.detach(), ACCUMULATOR_BITS, fraction + given)
    return FixedLayer(kind, *geometry, rectified, fraction, given, out), weight, bias, out


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def error_bound(layer: FixedLayer, weight: Tensor, x: Sequence[float]) -> float:
    """The most that a layer's fixed-point result can differ from the same layer in floating point.

    Half a unit of rounding in every input, weight, bias and in the result, none of them saturated.

    Args:
        layer: a convolution or linear layer.
        weight: its weights as floats.
        x: the smallest and the largest input.
    """
    window = weight[0].numel()
    largest = max(map(abs, x))
    input_unit, weight_unit = (2.0 ** -(f + 1) for f in (layer.in_fraction, layer.weight_fraction))
    sums = float(weight.abs().flatten(1).sum(1).max())
    products = input_unit * sums + weight_unit * largest * window + input_unit * weight_unit * window
    return products + 2.0 ** -(layer.in_fraction + layer.weight_fraction + 1) + 2.0 ** -(layer.out_fraction + 1)
