"""Deep layer aggregation: trees counted and computed by hand."""

from __future__ import annotations

from collections import deque

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.architecture import Architecture
from archfront.space.domains import one_of
from archfront.space.errors import ShapeError
from archfront.space.library.block.aggregation_tree import AggregationRoot, AggregationTree
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.block.pooled_residual import PooledResidual
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.conv import Conv
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import Feature, Image

X = Feature(6, (8, 12))


def built(spec: AggregationTree | PooledResidual, x: Feature = X) -> nn.Module:
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_mean, -1, 1)
    return module


def of_type(module: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [child for child in module.modules() if isinstance(child, kind)]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_a_tree_holds_two_to_the_depth_blocks_and_half_as_many_roots(depth: int) -> None:
    with torch.device("meta"):
        module = AggregationTree(depth=depth, block=PlainConv(), level_root=True).at(4, 2).build(X)
    assert len(of_type(module, type(PlainConv().build(X)))) == 2**depth
    assert len(of_type(module, AggregationRoot)) == 2 ** (depth - 1)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_inputs_of_the_roots_are_two_blocks_and_the_results_of_all_trees_to_the_left(depth: int) -> None:
    with torch.device("meta"):
        module = AggregationTree(depth=depth, block=PlainConv(), level_root=True).at(4, 2).build(X)
    roots = of_type(module, AggregationRoot)
    # the k-th root ends as many trees as k + 1 has factors 2; each but the last in its chain was handed a left tree
    handed = [((k & -k).bit_length() - 1) for k in range(1, 2 ** (depth - 1) + 1)]
    assert [root.conv.in_channels for root in roots] == [4 * (2 + n) for n in handed]
    entries = [None if root.conv_entry is None else root.conv_entry.in_channels for root in roots]
    assert entries == [None] * (len(roots) - 1) + [6]


def merge(root: nn.Module, nodes: list[Tensor], residual: bool = False) -> Tensor:
    """A root as the paper writes it: one convolution of the concatenation."""
    weights = [root.conv.weight] + ([] if root.conv_entry is None else [root.conv_entry.weight])
    y = root.norm(F.conv2d(torch.cat(nodes, 1), torch.cat(weights, 1), padding=weights[0].shape[2] // 2))
    return F.relu(y + nodes[0] if residual else y)


@pytest.mark.parametrize(("kernel", "residual"), [(1, False), (3, False), (1, True)])
def test_a_tree_of_depth_two_is_the_one_written_out(kernel: int, residual: bool) -> None:
    spec = AggregationTree(depth=2, level_root=True, root_kernel=kernel, root_residual=residual).at(4, 2)
    module = built(spec)
    (x,) = X.example(2, dtype=torch.float64)
    left, right = module.tree.left, module.tree.right
    b1 = left.left(x)
    b2 = left.right(b1)
    first = merge(left.root, [b2, b1], residual)
    b3 = right.left(first)
    b4 = right.right(b3)
    expected = merge(right.root, [b4, b3, first, F.max_pool2d(x, 2)], residual)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_gradient_reaches_the_first_block_through_one_root_a_level(depth: int) -> None:
    module = AggregationTree(depth=depth, block=PlainConv(), level_root=True).at(4, 1).build(X)
    roots = {id(root.conv.weight) for root in of_type(module, AggregationRoot)}
    first = next(module.tree.parameters())
    queue, best = deque([(module(X.example(2)[0]).grad_fn, 0)]), {}
    reached = []
    while queue:  # nodes of the graph of gradients with the fewest roots on the way to each
        node, passed = queue.popleft()
        inputs = [child for child, _ in node.next_functions if child is not None]
        passed += any(id(getattr(child, "variable", None)) in roots for child in inputs)
        if passed >= best.get(node, 99):
            continue
        best[node] = passed
        reached += [passed for child in inputs if getattr(child, "variable", None) is first]
        queue += [(child, passed) for child in inputs]
    assert min(reached) == depth


@pytest.mark.parametrize("ratio", [None, 0.5])
def test_the_residual_block_adds_the_projected_maximum_of_every_tile(ratio: float | None) -> None:
    module = built(PooledResidual(ratio=ratio).at(8, 2))
    (x,) = X.example(2, dtype=torch.float64)
    tiles = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    torch.testing.assert_close(module(x), F.relu(module.branch(x) + module.project(tiles)))
    assert [p.shape[2] for p in module.branch.parameters() if p.dim() == 4] == ([3, 3] if ratio is None else [1, 3, 1])


def test_aggregation_is_one_choice_of_a_stage_for_any_block() -> None:
    hosts = one_of(BasicBlock(), MBConv(), PooledResidual(ratio=1.0, operator=Conv(groups=4)))
    tree = AggregationTree(depth=one_of(1, 2), block=hosts, root_residual=one_of(False, True), root_kernel=one_of(1, 3))
    network = Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=16, stride=2, block=one_of(BasicBlock(), tree)),),
        head=Classifier(classes=3),
    )
    space = Space(Image(3, 16, 16), network)
    assert space.size == 1 + 2 * 3 * 2 * 2
    for architecture in space:
        assert architecture.build()(*architecture.input.example(2)).shape == (2, 3)


def test_a_block_that_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"block.operator: 5 groups"):
        Architecture(
            Image(3, 16, 16),
            Network(
                stem=ConvStem(width=8),
                stages=(Stage(width=16, block=AggregationTree(block=BasicBlock(operator=Conv(groups=5)))),),
                head=Classifier(classes=3),
            ),
        )
