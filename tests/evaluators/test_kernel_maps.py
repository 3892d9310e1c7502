"""Kernels mapped to smaller ones: by hand, exact when extracted, trained only where they are used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from archfront.evaluators.kernel_maps import KernelMap, MappedStore, mapped, nested
from archfront.evaluators.layout import Layout, take
from archfront.evaluators.store import Store
from archfront.evaluators.supernet import Supernet
from archfront.space import Network, Space, Stage, one_of
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.types import Image


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    """So that equal means equal."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def space() -> Space:
    """One block with kernels 3, 5 and 7."""
    block = MBConv(kernel=one_of(3, 5, 7), expand=one_of(1.0, 2.0))
    stages = (Stage(width=8, stride=2, block=block),)
    return Space(Image(1, 8, 8), Network(stem=ConvStem(width=8, stride=1), stages=stages, head=Classifier(classes=10)))


def with_kernel(space: Space, kernel: int) -> Architecture:
    found = (a for a in space if space.choices(a)["stages[0].blocks[0].kernel"] == kernel)
    return next(found)


def stirred(space: Space) -> Supernet:
    """A supernet whose matrices are no longer identities."""
    supernet = Supernet(space, store=MappedStore)
    generator = torch.Generator().manual_seed(1)
    for parameter in supernet.store.parameters.values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return supernet


def depthwise(candidate_parameters: dict[str, torch.Tensor]) -> torch.Tensor:
    return next(v for name, v in candidate_parameters.items() if "depthwise" in name and v.dim() == 4)


def test_before_training_a_smaller_kernel_is_the_centre_of_the_larger(space: Space) -> None:
    plain, maps = Store(space), MappedStore(space)
    for part in space.parts():
        assert all(torch.equal(plain.views(part)[name], view) for name, view in maps.views(part).items())


def test_kernels_are_mapped_from_seven_to_five_to_three(space: Space) -> None:
    supernet = stirred(space)
    stored = {name: p.detach() for name, p in supernet.store.parameters.items()}
    key = next(name for name in stored if "depthwise" in name and stored[name].dim() == 4)
    assert stored[key].shape[2:] == (7, 7)
    assert {name for name in stored if " to " in name} == {f"{key} to 5x5", f"{key} to 3x3"}

    def step(kernel: torch.Tensor, size: int) -> torch.Tensor:
        edge = (kernel.shape[-1] - size) // 2
        matrix, result = stored[f"{key} to {size}x{size}"], torch.zeros(*kernel.shape[:2], size, size)
        for i in range(size * size):
            for j in range(size * size):
                source = kernel[:, :, edge + j // size, edge + j % size]
                result[:, :, i // size, i % size] += matrix[i, j] * source
        return result

    five = step(stored[key], 5)
    for size, expected in ((7, stored[key]), (5, five), (3, step(five, 3))):
        found = depthwise(supernet.candidate(with_kernel(space, size)).parameters())
        torch.testing.assert_close(found, expected[: len(found)], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_candidate_computes_exactly_what_the_extracted_module_does(space: Space, kernel: int) -> None:
    supernet, architecture = stirred(space), with_kernel(space, kernel)
    x = torch.randn(4, 1, 8, 8)
    module = supernet.extract(architecture)
    with torch.no_grad():
        assert torch.equal(supernet.candidate(architecture).train()(x), module.train()(x))


def test_matrices_are_trained_by_the_kernels_that_go_through_them(space: Space) -> None:
    x = torch.randn(4, 1, 8, 8)
    for kernel, trained in ((7, set()), (5, {"5x5"}), (3, {"5x5", "3x3"})):
        supernet = stirred(space)
        supernet.candidate(with_kernel(space, kernel)).train()(x).square().sum().backward()  # type: ignore[no-untyped-call]
        gradients = {
            name.rpartition(" to ")[2]: p.grad for name, p in supernet.store.parameters.items() if " to " in name
        }
        assert {name for name, gradient in gradients.items() if gradient is not None} == trained


def test_extents_that_do_not_nest_are_passed_over() -> None:
    steps = [
        KernelMap(extent, torch.nn.Parameter(torch.zeros(1))) for extent in ((5, 5), (1, 5), (5, 1), (3, 1), (1, 1))
    ]

    def way(wanted: tuple[int, int], start: tuple[int, int]) -> list[tuple[int, ...]]:
        return [step.extent for step in nested(steps, start, wanted)]

    assert way((1, 1), (7, 7)) == [(5, 5), (1, 5), (1, 1)]
    assert way((3, 1), (7, 7)) == [(5, 5), (5, 1), (3, 1)]
    assert way((5, 1), (5, 5)) == [(5, 5), (5, 1)]
    assert way((5, 5), (7, 7)) == [(5, 5)]


def test_channels_are_cut_before_kernels_are_mapped() -> None:
    stored = torch.randn(6, 2, 5, 5)
    matrix = torch.nn.Parameter(torch.randn(9, 9))
    layout = Layout("w", "Conv2d/weight", (4, 1, 3, 3))
    found = mapped(stored, layout, [KernelMap((3, 3), matrix)])
    expected = torch.einsum("ij,abj->abi", matrix, stored[:4, :1, 1:4, 1:4].flatten(2)).reshape(4, 1, 3, 3)
    torch.testing.assert_close(found, expected)
    assert torch.equal(mapped(stored, layout, []), take(stored, layout))
