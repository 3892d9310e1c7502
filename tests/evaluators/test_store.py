"""How parameters lie in the store, against slices written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archfront.evaluators.data import Dataset
from archfront.evaluators.layout import Layout, layouts, part_layouts, take
from archfront.evaluators.store import Store, SupernetError
from archfront.evaluators.supernet import Supernet
from archfront.space import FeatureType, Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.res2net import Res2Net
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.types import Image


def test_leading_channels_and_centre_of_kernels() -> None:
    stored = torch.arange(8 * 6 * 5 * 5.0).reshape(8, 6, 5, 5)
    found = take(stored, Layout("w", "w", (4, 3, 3, 3)))
    assert torch.equal(found, stored[:4, :3, 1:4, 1:4])
    assert found.untyped_storage().data_ptr() == stored.untyped_storage().data_ptr()


def test_fused_segments_are_sliced_one_by_one() -> None:
    stored = torch.arange(12 * 4.0).reshape(12, 4)
    found = take(stored, Layout("qkv", "qkv", (6, 3), outputs=3))
    expected = torch.cat([stored[0:2, :3], stored[4:6, :3], stored[8:10, :3]])
    assert torch.equal(found, expected)
    found = take(stored.T.contiguous(), Layout("merge", "merge", (3, 6), inputs=3))
    assert torch.equal(found, expected.T)


def test_segments_that_do_not_divide_the_stored_extent_leave_its_end_out() -> None:
    stored = torch.arange(11 * 2.0).reshape(11, 2)
    found = take(stored, Layout("split", "split", (4, 2), outputs=4))
    assert torch.equal(found, stored[[0, 2, 4, 6]])  # four segments of 2 rows, 3 rows left over


def test_chunks_of_a_narrower_hierarchy_are_the_leading_channels_of_the_stored_ones() -> None:
    block = Res2Net(scale=one_of(2, 4), base_width=one_of(16, 32))
    stages = (Stage(width=64, block=block),)
    space = Space(Image(1, 8, 8), Network(stem=ConvStem(width=64), stages=stages, head=Classifier(classes=4)))
    supernet = Supernet(space)
    (key,) = (name for name in supernet.store.parameters if "reduce" in name and name.endswith("Conv2d/weight"))
    stored = supernet.store.parameters[key]
    assert stored.shape[0] == 4 * 8  # four chunks of 8 channels
    for architecture in space:
        part = next(part for part in architecture.parts if isinstance(part.spec, Res2Net))
        assert isinstance(part.spec, Res2Net)
        views, scale, chunk = supernet.store.views(part), part.spec.scale, part.spec.base_width // 4
        starts = [i * 32 // scale for i in range(scale)]
        assert torch.equal(views["reduce.conv.weight"], torch.cat([stored[start : start + chunk] for start in starts]))


def test_a_full_parameter_is_the_stored_one_itself() -> None:
    stored = nn.Parameter(torch.zeros(3, 2))
    assert take(stored, Layout("w", "w", (3, 2))) is stored


class Fused(nn.Module):
    """Declares what is fused, a child inside a child included."""

    fused_outputs = {"qkv": 3, "bias": 2}  # noqa: RUF012 - as library modules write it
    fused_inputs = {"merge": 2}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Sequential(nn.Conv2d(4, 12, 1), nn.BatchNorm2d(12))
        self.merge = nn.Linear(8, 4)
        self.bias = nn.Parameter(torch.zeros(6))


def test_keys_name_attributes_and_classes_and_carry_what_is_fused() -> None:
    found = {layout.name: layout for layout in layouts(Fused())}
    assert found["qkv.0.weight"].key == "Fused/qkv:Sequential/0:Conv2d/weight"
    assert {name: (layout.outputs, layout.inputs) for name, layout in found.items()} == {
        "bias": (2, 1),
        "qkv.0.weight": (3, 1),
        "qkv.0.bias": (3, 1),
        "qkv.1.weight": (3, 1),
        "qkv.1.bias": (3, 1),
        "merge.weight": (1, 2),
        "merge.bias": (1, 2),
    }


def test_every_tensor_has_the_largest_extent_any_architecture_asks_for(elastic: Space) -> None:
    store = Store(elastic)
    shapes = {name: tuple(p.shape) for name, p in store.parameters.items()}
    largest: dict[str, tuple[int, ...]] = {}
    for seed in range(400):
        for part in elastic.sample(seed, over="sites").parts:
            for layout in part_layouts(part.spec, part.input):
                name = store.name(part, layout)
                largest[name] = tuple(map(max, largest.get(name, layout.shape), layout.shape))
    assert largest == shapes


def test_maps_of_other_sizes_have_weights_of_their_own(digits: Dataset) -> None:
    stages = (
        Stage(width=16, stride=one_of(1, 2), depth=int_range(1, 2), block=MBConv(kernel=one_of(3, 5))),
        Stage(width=16, stride=2, block=MBConv()),
    )
    space = Space(digits.input, Network(stem=ConvStem(width=16, stride=1), stages=stages, head=Classifier(classes=10)))
    supernet = Supernet(space)
    used: dict[str, set[tuple[FeatureType, FeatureType]]] = {}
    for architecture in space:
        for part in architecture.parts:
            for _, stored in supernet.store.cuts(part):
                name = next(n for n, p in supernet.store.parameters.items() if p is stored)
                used.setdefault(name, set()).add((part.input, part.spec.output(part.input)))
    assert all(len(sizes) == 1 for sizes in used.values())
    assert used.keys() == supernet.store.parameters.keys()
    # the stem is in one place; the blocks 8 to 8 and 8 to 4, 8 and 4, 8 to 4 and 4 to 2, and the head behind 4 and 2 are in two
    places = {name.partition("/")[0] + name.partition(" from ")[1] + name.partition(" from ")[2] for name in used}
    assert len(places) == 1 + 4 * 2


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(elastic: Space) -> None:
    a, b, c = (Store(elastic, seed).parameters for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_initial_weights_are_those_of_the_module_at_its_largest(elastic: Space) -> None:
    store = Store(elastic)
    for name, parameter in store.parameters.items():
        if name.endswith("BatchNorm2d/weight"):
            assert torch.equal(parameter, torch.ones_like(parameter))
        elif name.endswith("/bias") and "Norm" in name:
            assert torch.equal(parameter, torch.zeros_like(parameter))


def test_weights_of_another_space_are_refused(elastic: Space, digits: object) -> None:
    store = Store(elastic)
    with pytest.raises(SupernetError, match="names differ"):
        store.load_state_dict({"x": torch.zeros(1)})
    state = store.state_dict()
    name = next(iter(state))
    with pytest.raises(SupernetError, match=r"is \(1,\) there"):
        store.load_state_dict({**state, name: torch.zeros(1)})
