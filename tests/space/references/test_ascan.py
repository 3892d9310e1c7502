"""Stages written as strings of C and T, and the rules for them."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.domains import one_of
from archfront.space.errors import SpecError
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.relative_bias_attention import RelativeBiasAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network
from archfront.space.references.ascan import ascan, asymmetric, broken_rule, letters_of, stage
from archfront.space.space import Space
from archfront.space.types import Image, Scores

STRINGS = ["".join(letters) for n in (1, 2, 3) for letters in itertools.product("CT", repeat=n)]
ATTENTION = MetaFormer(mixer=RelativeBiasAttention(head_dim=8))


@pytest.mark.parametrize("letters", STRINGS)
def test_every_string_over_c_and_t_writes_the_stage_that_is_read_back_from_it(letters: str) -> None:
    assert letters_of(stage(letters, 16)) == letters


@pytest.mark.parametrize("letters", ["", "CX", "ct"])
def test_other_letters_are_refused(letters: str) -> None:
    with pytest.raises(SpecError, match="expected letters C"):
        stage(letters, 16)


def test_the_rules_hold_for_exactly_the_strings_that_they_describe() -> None:
    for strings in itertools.product(STRINGS, repeat=3):
        counts = [letters.count("T") for letters in strings]
        growing = counts[0] == 0 and counts == sorted(counts)
        ordered = all(letters == "".join(sorted(letters)) for letters in strings)  # C comes before T in the alphabet
        assert (broken_rule(strings, interleaved=True) is None) == growing
        assert (broken_rule(strings) is None) == (growing and ordered)


@pytest.mark.parametrize(
    ("strings", "problem"),
    [(("CT", "T"), "stage 1 'CT' holds T"), (("C", "TT", "CT"), "stage 3"), (("C", "TC", "TT"), "C behind T")],
)
def test_a_network_that_breaks_a_rule_is_refused_with_the_rule(strings: tuple[str, ...], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        ascan(strings)


@pytest.mark.parametrize(("letter", "block"), [("C", PreNormMBConv), ("T", MetaFormer)])
def test_one_letter_alone_makes_a_pure_network(letter: str, block: type) -> None:
    network = ascan((letter, letter * 2, letter * 3), width=32, ruled=False)
    assert {type(b) for s in network.stages for b in s.blocks} == {block}  # type: ignore[union-attr]
    assert Architecture(Image(3, 64, 32), network).output == Scores(1000)


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_reaches_every_parameter_of_random_strings(seed: int) -> None:
    strings = tuple(random.Random(seed).choices(STRINGS, k=3))
    network = ascan(strings, classes=5, width=16, transformer=ATTENTION, ruled=False)
    architecture = Architecture(Image(3, 32, 24), network)
    module = architecture.build()
    module(*architecture.input.example(2)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_the_stages_are_choices_of_a_space_that_keeps_the_rules() -> None:
    def choice(strings: tuple[str, ...], width: int) -> object:
        return one_of(*(stage(s, width, convolution=BasicBlock(), transformer=ATTENTION) for s in strings))

    network = Network(
        stem=ConvStem(width=8),
        stages=(choice(("C", "CC"), 8), choice(("CC", "CT", "TT"), 16), choice(("CT", "TT"), 32)),  # type: ignore[arg-type]
        head=Classifier(classes=3),
    )
    space = Space(Image(3, 32, 32), network, where=asymmetric)
    assert space.size == 2 * (3 * 2 - 1)  # TT, then CT, has fewer T later
    for seed in range(3):
        architecture = space.sample(seed)
        with torch.no_grad():
            assert architecture.build()(*architecture.input.example(2)).shape == (2, 3)
