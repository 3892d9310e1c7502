"""Encoders with mirrored decoders: skips, sizes, gates, and the rules of AsCAN."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.cost import cost, count
from archfront.space.architecture import Architecture
from archfront.space.errors import ShapeError, SpecError
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.scse import SCSE
from archfront.space.library.mixer.relative_bias_attention import RelativeBiasAttention
from archfront.space.references.ascan import ascan_unet, letters_of
from archfront.space.references.unet import UNet, unet
from archfront.space.spec import Gate
from archfront.space.types import Feature, Image

ATTENTION = MetaFormer(mixer=RelativeBiasAttention(head_dim=8))
GATES = (None, SCSE(weights="channel"), SCSE(weights="spatial"), SCSE())


def parameters(network: UNet, x: Feature = Image(3, 32, 32)) -> int:  # noqa: B008 - immutable
    with torch.device("meta"):
        return sum(p.numel() for p in network.build(x).parameters())


@pytest.mark.parametrize("size", [(16, 24), (13, 9)])
def test_every_stage_of_the_decoder_reads_the_map_of_its_own_size(size: tuple[int, int]) -> None:
    x = Image(3, *size)
    network = unet(5, width=8, levels=3)
    assert network.output(x) == Feature(5, size)
    inputs = {part.path: part.input for part in network.parts(x)}
    halves = tuple(-(-n // 2) for n in size)
    assert inputs["decoder[0]"] == Feature(2 * 16, halves)
    assert inputs["decoder[1]"] == Feature(2 * 8, size)
    assert network.build(x)(torch.randn(2, 3, *size)).shape == (2, 5, *size)


def test_the_cost_of_its_parts_is_the_cost_of_the_network() -> None:
    architecture = Architecture(Image(3, 12, 10), unet(2, width=4, levels=3, decoder_gate=SCSE()))
    total, whole = cost(architecture), count(architecture.build(), architecture.input)
    assert (total.macs, total.contractions, total.params) == (whole.macs, whole.contractions, whole.params)
    assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_gates_add_the_same_parameters_for_every_stage_they_act_on() -> None:
    widths = [64, 128, 256, 512, 1024]
    plain = parameters(unet(1))
    channel, spatial = (
        parameters(unet(1, encoder_gate=gate, decoder_gate=gate)) - plain
        for gate in (SCSE(weights="channel"), SCSE(weights="spatial"))
    )
    assert channel == sum(c * c + 3 * c // 2 for c in (*widths, *widths[:-1]))
    assert spatial == sum(c + 1 for c in (*widths, *widths[:-1]))
    assert parameters(unet(1, encoder_gate=SCSE(weights="spatial"))) - plain == sum(c + 1 for c in widths)


@pytest.mark.parametrize("gate", GATES)
def test_networks_with_any_gate_have_the_same_shapes_and_train(gate: Gate | None) -> None:
    torch.manual_seed(0)
    module = unet(2, width=4, levels=3, encoder_gate=gate, decoder_gate=gate).build(Image(3, 16, 16))
    x = torch.randn(4, 3, 16, 16)
    target = (x.mean(1) > 0).long()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(module(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_decoder_of_ascan_is_its_encoder_in_reverse_with_the_same_widths() -> None:
    network = ascan_unet(("CC", "CT", "CTT"), width=8, transformer=ATTENTION)
    assert [letters_of(stage) for stage in network.decoder] == ["TC", "CC"]
    assert [stage.width for stage in network.decoder] == [16, 8]
    assert network.output(Image(3, 16, 16)) == Feature(3, (16, 16))
    module = network.build(Image(3, 16, 16))
    module(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    with pytest.raises(SpecError, match="stage 1 'CT' holds T"):
        ascan_unet(("CT", "TT"))


def test_encoders_that_do_not_fit_their_decoder_are_refused() -> None:
    network = unet(1, width=4, levels=3)
    with pytest.raises(ShapeError, match="decoder: 3 stages need 2 behind them"):
        network.replaced({"decoder": network.decoder[:1]}).output(Image(3, 8, 8))
