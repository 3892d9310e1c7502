"""ConvNeXt V2: global response normalisation and the block around it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archfront.space.library.block.convnext import ConvNeXt
from archfront.space.library.gate.global_response import GlobalResponse
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.types import Feature


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module.double().eval()


def test_the_response_is_the_energy_of_a_channel_over_the_mean_energy_computed_by_loops() -> None:
    module = randomised(GlobalResponse().build(Feature(5, (3, 4))))
    (x,) = Feature(5, (3, 4)).example(2, dtype=torch.float64)
    y = module(x)
    for image in range(2):
        energy = [sum(float(v) ** 2 for v in x[image, c].flatten()) ** 0.5 for c in range(5)]
        mean = sum(energy) / 5 + 1e-6
        for c in range(5):
            expected = float(module.scale[c]) * x[image, c] * energy[c] / mean + float(module.shift[c]) + x[image, c]
            torch.testing.assert_close(y[image, c], expected)


def test_the_response_starts_as_the_identity_and_so_the_block_equals_the_block_without_it() -> None:
    x = Feature(8, (6, 5))
    torch.manual_seed(0)
    gated = ConvNeXt().build(x).eval()
    plain = ConvNeXt(gate=None).build(x).eval()
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate.")})
    (image,) = x.example(2)
    torch.testing.assert_close(gated(image), plain(image), rtol=0, atol=0)


def test_a_channel_made_ten_times_stronger_is_raised_against_the_others() -> None:
    module = GlobalResponse().build(Feature(6, (4, 4))).eval()
    nn.init.ones_(module.scale)
    (x,) = Feature(6, (4, 4)).example(1)
    louder = x * torch.tensor([10.0, 1, 1, 1, 1, 1])[:, None, None]
    factor = lambda t: (module(t) / t).mean((0, 2, 3))  # noqa: E731
    before, after = factor(x), factor(louder)
    assert after[0] > before[0]
    assert bool((after[1:] < before[1:]).all())


def test_the_response_is_taken_over_space_and_normalised_over_channels_at_any_number_of_dimensions() -> None:
    module = randomised(GlobalResponse().build(Feature(4, (6,))))
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), module(x[..., None])[..., 0])
    order = torch.randperm(6)
    torch.testing.assert_close(module(x)[..., order], module(x[..., order]))


@pytest.mark.parametrize("kernel", [3, 7])
def test_the_block_is_the_composition_in_the_paper(kernel: int) -> None:
    x = Feature(4, (5, 6))
    block = randomised(ConvNeXt(mixer=LargeKernel(kernel=kernel), layer_scale=1e-6).build(x))
    (image,) = x.example(1, dtype=torch.float64)
    mixed = block.mixer(image).permute(0, 2, 3, 1)
    normed = nn.functional.layer_norm(mixed, (4,), block.norm.weight, block.norm.bias, 1e-6)
    hidden = nn.functional.gelu(normed @ block.expand.weight.flatten(1).T + block.expand.bias)
    hidden = block.gate(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    branch = hidden @ block.project.weight.flatten(1).T + block.project.bias
    expected = image + (branch * block.scale.scale).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(image), expected)
