"""Nodes as ONNX Runtime executes them: their operations are those of the network, whatever the runtime makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import count
from archfront.hw_profiles.node_times import Executed, call_cost, einsum_sizes, flops, moved, profile_nodes
from archfront.hw_profiles.runtimes import export_onnx
from archfront.space.types import Image

torch.set_num_threads(1)


def executed(module: nn.Module, x: Tensor, folder: Path) -> Executed:
    export_onnx(module.eval(), (x,), folder / "network.onnx")
    return profile_nodes(folder / "network.onnx", threads=1, seconds=0.0)


class Attention(nn.Module):
    """Windows of pixels that attend to each other, between convolutions whose channels no vector unit divides."""

    def __init__(self) -> None:
        super().__init__()
        self.inwards = nn.Conv2d(3, 24, 3, padding=1)
        self.qkv = nn.Linear(24, 72)
        self.out = nn.Linear(24, 24)
        self.narrow = nn.Conv2d(24, 20, 1)
        self.depthwise = nn.Conv2d(20, 20, 3, padding=1, groups=20)
        self.up = nn.ConvTranspose2d(20, 7, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.inwards(x))
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v)).transpose(1, 2).view_as(x)
        return self.up(F.silu(self.depthwise(self.narrow(x))))


def test_operations_are_exact_though_the_runtime_pads_channels(tmp_path: Path) -> None:
    module = Attention()
    found = executed(module, torch.randn(1, 3, 8, 8), tmp_path)
    assert found.uncounted == ()
    assert sum(node.flops or 0 for node in found.nodes) == 2 * count(module, Image(3, 8, 8)).contractions


def test_normalisation_that_runs_as_a_convolution_is_no_work_of_the_network(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(16, 16, 3), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 20, 1))
    found = executed(module, torch.randn(1, 16, 18, 18), tmp_path)
    assert sum(node.operator == "Conv" for node in found.nodes) == 3
    assert sum(node.flops or 0 for node in found.nodes) == 2 * count(module, Image(16, 18, 18)).contractions


def test_bytes_are_those_of_inputs_weights_and_outputs(tmp_path: Path) -> None:
    found = executed(nn.Sequential(nn.Flatten(), nn.Linear(48, 10)), torch.randn(1, 3, 4, 4), tmp_path)
    product = next(node for node in found.nodes if node.operator == "Gemm")
    assert product.weight_bytes == 4 * (48 * 10 + 10)  # the runtime's profiler forgets weights that it packed
    assert product.activation_bytes == 4 * (48 + 10)
    assert product.flops == 2 * 48 * 10
    view = next(node for node in found.nodes if node.operator == "Flatten")
    assert view.activation_bytes == 0


def test_every_node_of_a_chain_is_timed_in_order(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.Softmax(1), nn.Conv2d(16, 32, 1))
    found = executed(module, torch.randn(1, 16, 8, 8), tmp_path)
    operators = [node.operator for node in found.nodes]
    assert [o for o in operators if not o.startswith("Reorder")] == ["Conv", "Softmax", "Conv"]
    assert all(node.seconds > 0 for node in found.nodes)


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "attributes", "macs"),
    [
        ("Conv", [(1, 8, 9, 9), (6, 4, 3, 3)], (1, 6, 9, 9), {"group": 2}, 6 * 81 * 4 * 9),
        ("ConvTranspose", [(1, 8, 9, 9), (8, 6, 2, 2)], (1, 6, 18, 18), {}, 8 * 81 * 6 * 4),
        ("MatMul", [(2, 5, 7), (2, 7, 3)], (2, 5, 3), {}, 2 * 5 * 7 * 3),
        ("FusedMatMul", [(2, 7, 5), (2, 7, 3)], (2, 5, 3), {"transA": 1}, 2 * 5 * 7 * 3),
        ("Gemm", [(1, 7), (7, 3), (3,)], (1, 3), {}, 21),
        ("Einsum", [(2, 5, 7), (2, 7, 3)], (2, 5, 3), {"equation": b"bij,bjk->bik"}, 2 * 5 * 7 * 3),
        ("Einsum", [(4, 2, 5, 7), (7, 3)], (4, 2, 5, 3), {"equation": b"...j,jk->...k"}, 4 * 2 * 5 * 7 * 3),
        ("Relu", [(1, 8, 9, 9)], (1, 8, 9, 9), {}, 0),
    ],
)
def test_operators_cost_what_their_definition_says(
    operator: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], attributes: dict[str, object], macs: int
) -> None:
    assert flops(operator, inputs, output, attributes) == 2 * macs


def test_an_unknown_operator_is_no_silent_zero() -> None:
    assert flops("DeformConv", [(1, 8, 9, 9)], (1, 8, 9, 9), {}) is None


def test_indices_of_an_einsum_broadcast() -> None:
    assert einsum_sizes("b i j, b j k -> b i k", [(1, 2, 3), (4, 3, 5)]) == {"b": 4, "i": 2, "j": 3, "k": 5}


def test_views_move_nothing_and_slices_read_what_they_write() -> None:
    assert moved("Reshape", 100, 100) == 0
    assert moved("Slice", 100, 10) == 20
    assert moved("Relu", 100, 100) == 200


def test_calling_more_nodes_costs_more() -> None:
    cost = call_cost(seconds=0.05)
    assert cost.call >= 0 and cost.node > 0
    assert cost.of(10) == pytest.approx(cost.call + 10 * cost.node)
