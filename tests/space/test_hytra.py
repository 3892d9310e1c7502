"""The HyTra fabric: paths counted by a closed form, and layers against the modules of the paper written out."""

from __future__ import annotations

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archfront.evaluators.rules.rule import extreme
from archfront.evaluators.supernet import Supernet
from archfront.hw_profiles.cost import cost
from archfront.space import Image, Network, ShapeError, Space, Stage, one_of
from archfront.space.library.block.hytra import HyTraLayer
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.references import reference
from archfront.space.types import Feature

SCALES, FINEST = 4, 16


def fabric(layers: int, core: object = "conv") -> Space:
    layer = HyTraLayer(core=core, down=one_of(False, True), widest=FINEST * 2 ** (SCALES - 1), most_positions=16)  # type: ignore[arg-type]
    return Space(
        Image(3, 16, 16),
        Network(
            stem=ConvStem(width=8, stride=1),
            stages=(Stage(width=FINEST, depth=layers, block=layer),),
            head=Classifier(classes=4),
        ),
    )


@pytest.mark.parametrize("layers", [2, 5, 8])
def test_paths_are_as_many_as_choices_of_at_most_three_positions_and_skip_no_scale(layers: int) -> None:
    space = fabric(layers)
    assert space.size == sum(math.comb(layers, positions) for positions in range(SCALES))
    for architecture in space:
        scales = [
            part.spec.output(part.input).channels // FINEST for part in architecture.parts if "blocks" in part.path
        ]
        steps = [b // a for a, b in zip([1, *scales], scales, strict=False)]
        assert set(steps) <= {1, 2}
        assert max(scales) <= 2 ** (SCALES - 1)


def test_the_fabric_of_the_paper_has_697_paths() -> None:
    assert fabric(16).size == 1 + 16 + 120 + 560


def test_operators_multiply_the_paths_where_maps_are_small_enough_for_attention() -> None:
    layers = 5
    space = fabric(layers, one_of("conv", "attention"))
    # attention on 4x4 maps and smaller: behind the second down-sampling, itself included
    count = 0
    for path in fabric(layers):
        sizes = [part.spec.output(part.input).size[0] for part in path.parts if "blocks" in part.path]
        count += 2 ** sum(size <= 4 for size in sizes)
    assert space.size == count


def test_the_supernet_of_a_fabric_serves_every_scale_at_every_layer() -> None:
    space = fabric(4, one_of("conv", "attention"))
    supernet = Supernet(space)
    x = torch.randn(2, 3, 16, 16)
    for seed in range(10):
        architecture = space.sample(seed)
        candidate = supernet.candidate(architecture).train()
        torch.testing.assert_close(candidate(x), supernet.extract(architecture).train()(x))
    assert extreme(space, "largest", random.Random(0)) in space


def layer(**options: object) -> tuple[nn.Module, torch.Tensor]:
    """A layer with random normalisations in evaluation mode, in double precision, and an input."""
    torch.manual_seed(0)
    module = HyTraLayer(**options).build(Feature(16, (6, 6))).double().eval()  # type: ignore[arg-type]
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                with torch.no_grad():
                    tensor.copy_(torch.rand_like(tensor) + 0.5)  # type: ignore[union-attr,arg-type]
    return module, torch.randn(2, 16, 6, 6, dtype=torch.float64)


def test_a_strided_convolution_layer_computes_the_formula() -> None:
    m, x = layer(down=True)
    hidden = F.relu(m.norm1(F.conv2d(F.conv2d(x, m.reduce.weight), m.position.weight, m.position.bias, 2, 1, groups=8)))
    hidden = F.relu(m.norm2(F.conv2d(hidden, m.core.weight, padding=1)))
    branch = m.expand.norm(F.conv2d(hidden, m.expand.conv.weight))
    shortcut = F.relu(m.shortcut.norm(F.conv2d(x, m.shortcut.conv.weight, stride=2, padding=1)))
    torch.testing.assert_close(m(x), F.relu(branch + shortcut))
    assert m(x).shape == (2, 32, 3, 3)


def test_attention_is_softmax_of_scaled_products_in_each_head() -> None:
    m, x = layer(core="attention", ratio=0.5, head_dim=4)
    hidden = F.relu(m.norm1(m.position(m.reduce(x))))
    query, key, value = F.conv2d(hidden, m.core.qkv.weight).flatten(2).chunk(3, 1)
    mixed = []
    for head in range(2):
        q, k, v = (t[:, 4 * head : 4 * head + 4] for t in (query, key, value))
        mixed.append(v @ (q.transpose(1, 2) @ k / 4**0.5).softmax(-1).transpose(1, 2))
    branch = m.expand(F.relu(m.norm2(torch.cat(mixed, 1).reshape(2, 8, 6, 6))))
    torch.testing.assert_close(m(x), F.relu(branch + x))


def test_a_fresh_layer_that_keeps_its_type_is_the_activation_of_its_input() -> None:
    x = torch.randn(2, 16, 6, 6)
    torch.testing.assert_close(HyTraLayer().build(Feature(16, (6, 6))).eval()(x), F.relu(x))


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (HyTraLayer(down=True, widest=16), "use down=False"),
        (HyTraLayer(core="attention", most_positions=16), "attention on 36 positions, 16 at most"),
        (HyTraLayer(core="attention", ratio=0.4375, head_dim=3), "2 heads do not divide 7"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_reason(spec: HyTraLayer, what: str) -> None:
    with pytest.raises(ShapeError, match=what):
        spec.output(Feature(16, (6, 6)))


# --------------------------------------------------------------------------- BossNet


@pytest.mark.parametrize(("name", "gated"), [("BossNet-T0", True), ("BossNet-T0 without SE", False)])
def test_the_sizes_of_bossnet_follow_from_its_list_of_layers(name: str, gated: bool) -> None:
    params, macs = 49 * 3 * 64 + 2 * 64, 49 * 3 * 64 * 112**2
    before, width, size = 64, 64, 56
    for scale, cores in enumerate(["c", "c", "cccac", "aaacaaaaa"]):
        for place, core in enumerate(cores):
            out, entry = 4 * width, size
            size = size // 2 if scale and not place else size
            params += before * width + 10 * width + 2 * width
            macs += before * width * entry**2 + 9 * width * size**2
            params += (9 if core == "c" else 3) * width**2 + 2 * width
            macs += (9 if core == "c" else 3) * width**2 * size**2 + (0 if core == "c" else 2 * width * size**4)
            params += width * out + 2 * out
            macs += width * out * size**2
            if before != out:
                params += before * out + 2 * out
                macs += before * out * size**2
            if gated and core == "c":
                params += 2 * out * (out // 16) + out // 16 + out
                macs += 2 * out * (out // 16)
            before = out
        width *= 2
    params, macs = params + 2048 * 1000 + 1000, macs + 2048 * 1000
    found = reference(name)
    with torch.device("meta"):
        assert sum(p.numel() for p in found.architecture().build().parameters()) == found.params == params
    assert cost(found.architecture()).contractions == macs
    assert macs / 1e9 == pytest.approx(found.gmacs, rel=1e-3)
    assert f"{macs / 1e9:.1f}" == "3.4"  # as the authors print it
