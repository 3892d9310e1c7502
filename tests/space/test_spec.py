"""Specs refuse what does not fit when it is written, and say what would."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from archfront.space import (
    Architecture,
    Block,
    Feature,
    Image,
    Network,
    ShapeError,
    Space,
    SpaceError,
    SpecError,
    Stage,
    int_range,
    one_of,
    registry,
)
from archfront.space.network import leaves
from archfront.space.serial import decode

from .conftest import TinyConv, TinyGate, TinyHead, TinyHeads, TinyStem


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TinyConv(kernel=4), r"TinyConv\.kernel: expected a positive odd integer, got 4"),
        (lambda: TinyConv(kernel=one_of(3, 4)), r"TinyConv\.kernel: expected a positive odd integer, got 4"),
        (lambda: TinyConv(kernel="3"), r"TinyConv\.kernel: expected a positive odd integer, got '3'"),
        (lambda: TinyConv(kernel=True), r"TinyConv\.kernel: expected"),
        (
            lambda: TinyConv(gate=TinyConv()),
            r"TinyConv\.gate: expected a gate \(.*TinyGate.*\) or None, got TinyConv\(\) \(a block\)",
        ),
        (lambda: TinyConv(gate=one_of(None, TinyHeads())), r"got TinyHeads\(\) \(a block\)"),
        (lambda: Stage(width=4, depth=0, block=TinyConv()), r"Stage\.depth: expected a positive integer, got 0"),
        (
            lambda: Stage(width=4, depth=int_range(0, 2), block=TinyConv()),
            r"Stage\.depth: expected positive integers, got 0",
        ),
        (lambda: Stage(width=4), "Stage needs block"),
        (lambda: Stage(width=4, block=TinyGate()), r"Stage\.blocks: expected"),
        (lambda: Feature(0, (8, 8)), r"Feature\.channels: expected a positive integer, got 0"),
    ],
)
def test_wrong_values_are_refused_with_the_field_and_what_would_fit(make: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: one_of(), "at least one value"),
        (lambda: one_of(3, 3), "lists a value twice"),
        (lambda: one_of(1, one_of(2, 3)), "not domains"),
        (lambda: one_of([3, 5, 7]), r"a list is no value: write one_of\(3, 5, 7\)"),
        (lambda: one_of(3, {5}), r"a set is no value: write one_of\(5\)"),
        (lambda: int_range(3, 1), "is empty"),
    ],
)
def test_wrong_domains_are_refused(make: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()  # type: ignore[operator]


def test_true_and_one_are_different_options() -> None:
    assert one_of(1, True, 1.0).options == (1, True, 1.0)  # type: ignore[attr-defined]


def test_an_unknown_field_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="kernels"):
        TinyConv(kernels=3)  # type: ignore[call-arg]


def test_specs_are_immutable_hashable_and_print_what_differs_from_the_defaults() -> None:
    spec = TinyConv(kernel=5, gate=TinyGate())
    with pytest.raises(AttributeError):
        spec.kernel = 3  # type: ignore[misc]
    assert hash(spec) == hash(TinyConv(kernel=5, gate=TinyGate()))
    assert repr(spec) == "TinyConv(kernel=5, gate=TinyGate())"


def test_a_shape_error_names_the_path() -> None:
    network = Network(
        stem=TinyStem(width=4),
        stages=(Stage(width=6, blocks=(TinyConv(), TinyHeads(heads=4))),),
        head=TinyHead(classes=2),
    )
    with pytest.raises(ShapeError, match=r"^stages\[0\]\.blocks\[1\]: 4 heads do not divide 6 channels"):
        Architecture(Image(3, 8, 8), network)


def test_a_block_that_keeps_its_type_is_put_behind_a_downsampling_where_the_type_changes() -> None:
    stage = Stage(width=8, stride=2, depth=2, block=TinyHeads(heads=2))
    parts = list(leaves(stage, Feature(4, (9, 7))))
    assert [part.path for part in parts] == ["blocks[0].downsample", "blocks[0]", "blocks[1]"]
    assert parts[1].input == Feature(8, (5, 4))
    same = Stage(width=4, depth=1, block=TinyHeads(heads=2))
    assert [part.path for part in leaves(same, Feature(4, (9, 7)))] == ["blocks[0]"]


def test_the_built_network_yields_the_declared_type() -> None:
    network = Network(
        stem=TinyStem(width=4),
        stages=(Stage(width=6, depth=2, block=TinyConv()), Stage(width=8, stride=2, depth=2, block=TinyHeads(heads=2))),
        head=TinyHead(classes=3),
    )
    architecture = Architecture(Image(3, 9, 7), network)
    (x,) = architecture.input.example(2)
    assert tuple(architecture.build()(x).shape[1:]) == architecture.output.shapes[0] == (3,)


def test_an_unknown_block_in_a_file_names_path_and_nearest() -> None:
    data = Space(
        Image(3, 8, 8),
        Network(stem=TinyStem(width=4), stages=(Stage(width=4, block=TinyConv()),), head=TinyHead(classes=2)),
    ).to_dict()
    data["network"]["stages"][0]["blocks"][0]["type"] = "TinyConw"
    with pytest.raises(
        SpecError, match=r"network\.stages\[0\]\.blocks\[0\]: unknown block 'TinyConw'; did you mean 'TinyConv'"
    ):
        Space.from_dict(data)
    data["network"]["stages"][0]["blocks"][0] = {"type": "TinyConv", "kernal": 3}
    with pytest.raises(SpecError, match="has no field 'kernal'; did you mean 'kernel'"):
        Space.from_dict(data)
    with pytest.raises(SpaceError, match="schema 7"):
        Space.from_dict({**data, "schema": 7})


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"int_range": [1]}, r"kernel: 'int_range' needs a list of 2 or 3 values, got \[1\]"),
        ({"int_range": 3}, "kernel: 'int_range' needs a list of 2 or 3 values, got 3"),
        ({"one_of": 3}, "kernel: 'one_of' needs a list of values, got 3"),
        ({"one_of": "35"}, "kernel: 'one_of' needs a list of values, got '35'"),
        ({"repeat": 1, "times": {"one_of": ["a", 2]}}, "kernel: 'repeat' needs 'times' with a domain of integers"),
    ],
)
def test_a_choice_in_a_file_that_is_none_is_explained_with_its_path(written: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        decode({"type": "TinyConv", "kernel": written}, "block")


def test_two_blocks_of_one_name_are_refused() -> None:
    assert registry["TinyConv"] is TinyConv
    with pytest.raises(SpecError, match="two blocks are called 'TinyConv'"):
        type("TinyConv", (Block,), {"build": lambda self, x: nn.Identity()})
