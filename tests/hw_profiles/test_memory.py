"""Peak activation memory of exported graphs: by hand, against a walk through random ones, and against the runtime."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from archfront.hw_profiles.cost import count
from archfront.hw_profiles.memory import cuda_allocator_bytes, onnx_peak_bytes
from archfront.hw_profiles.node_times import Executed, profile_nodes
from archfront.hw_profiles.runtimes import export_onnx
from archfront.space.types import Image

torch.set_num_threads(1)

MAP = 4 * 16 * 8 * 8


def executed(module: nn.Module, folder: Path, channels: int = 16) -> Executed:
    export_onnx(module.eval(), (torch.randn(1, channels, 8, 8),), folder / "network.onnx")
    return profile_nodes(folder / "network.onnx", threads=1, seconds=0.0)


class Shortcut(nn.Module):
    """A convolution and an activation beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(16, 16, 1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return F.relu(x + F.relu(self.second(x)))


def test_a_shortcut_holds_three_maps_and_two_in_place(tmp_path: Path) -> None:
    found = executed(Shortcut(), tmp_path).memory
    assert found.exported == 3 * MAP  # x, the result of relu, and their sum
    assert found.in_place == 2 * MAP  # relu and the sum write over what they read


def test_the_exported_graph_holds_what_the_traced_network_holds(tmp_path: Path) -> None:
    assert executed(Shortcut(), tmp_path).memory.exported == count(Shortcut(), Image(16, 8, 8)).peak_bytes


def test_the_runtime_asks_its_allocator_for_what_the_count_in_place_says(tmp_path: Path) -> None:
    """The peak lies between two wide maps, away from the input, which the caller holds, and from changes of layout."""
    widen, mix, narrow = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 16, 1)
    module = nn.Sequential(widen, nn.ReLU(), mix, nn.ReLU(), narrow, nn.ReLU())
    found = executed(module, tmp_path, channels=3).memory
    assert found.in_place == found.allocator == 2 * 4 * MAP


def test_views_are_free_and_weights_are_no_activations() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Add", ["flat", "weight"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8)) for name in ("x", "y")]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, (8,), [0.0] * 8) for n in ("weight", "shape")]
    graph = helper.make_graph(nodes, "views", ends[:1], ends[1:], weights)
    sizes = {"x": 32, "flat": 32, "y": 32}
    assert onnx_peak_bytes(graph, sizes, in_place=False) == 64
    assert onnx_peak_bytes(graph, sizes, in_place=True) == 32


def test_nothing_is_written_over_while_a_view_of_it_is_still_read() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Mul", ["a", "flat"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (8,)) for name in ("x", "y")]
    shape = helper.make_tensor("shape", TensorProto.FLOAT, (1,), [8.0])
    graph = helper.make_graph(nodes, "views", ends[:1], ends[1:], [shape])
    assert onnx_peak_bytes(graph, dict.fromkeys(("x", "flat", "a", "y"), 32), in_place=True) == 64


def test_what_is_computed_from_weights_alone_is_a_weight() -> None:
    nodes = [helper.make_node("Cast", ["weight"], ["cast"], to=1), helper.make_node("Foo", ["x", "cast"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (8,)) for name in ("x", "y")]
    weight = helper.make_tensor("weight", TensorProto.FLOAT16, (8,), [0.0] * 8)
    graph = helper.make_graph(nodes, "cast", ends[:1], ends[1:], [weight])
    assert onnx_peak_bytes(graph, {"x": 32, "cast": 1000, "y": 32}, in_place=False) == 64


@pytest.mark.parametrize("seed", range(20))
def test_the_peak_of_a_random_graph_is_found_by_walking_through_it(seed: int) -> None:
    """Without writing in place: at every node, what exists and is still read, and what the node writes."""
    draw = random.Random(seed)
    reads = [(draw.randrange(i), draw.randrange(i)) for i in range(1, 13)]
    results = {12} | (set(range(1, 13)) - {value for pair in reads for value in pair})
    sizes = {f"t{i}": draw.randrange(1, 100) for i in range(13)}
    nodes = [helper.make_node("Foo", [f"t{a}", f"t{b}"], [f"t{i}"]) for i, (a, b) in enumerate(reads, 1)]
    infos = {i: helper.make_tensor_value_info(f"t{i}", TensorProto.FLOAT, (1,)) for i in range(13)}
    graph = helper.make_graph(nodes, "random", [infos[0]], [infos[i] for i in sorted(results)])
    alive = []
    for line in range(12):
        wanted = {value for pair in reads[line:] for value in pair} | results
        alive.append(sizes[f"t{line + 1}"] + sum(sizes[f"t{value}"] for value in wanted if value <= line))
    assert onnx_peak_bytes(graph, sizes, in_place=False) == max(alive)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_torch_hands_out_on_cuda_what_the_count_says() -> None:
    module = nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Tanh())
    found = cuda_allocator_bytes(module, (torch.randn(1, 16, 8, 8),))
    assert found == count(module, Image(16, 8, 8)).peak_bytes + MAP  # eager mode keeps x, which the caller holds


def test_without_cuda_there_is_no_figure_of_its_allocator() -> None:
    if not torch.cuda.is_available():
        assert cuda_allocator_bytes(nn.ReLU(), (torch.randn(1),)) is None
