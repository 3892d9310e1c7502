"""What holds for every spec of the library, whatever it computes."""

from __future__ import annotations

from dataclasses import MISSING, fields

import archfront.space.library  # noqa: F401 - registers every block
import pytest
import torch
from archfront.space.errors import ShapeError
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.fused_mbconv import FusedMBConv
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.wide_basic import WideBasic
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.mixer.identity import IdentityMixer
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import KINDS, Spec, registry
from archfront.space.types import Feature, Tokens

BLOCKS = [
    cls for kind in KINDS for cls in registry.of_kind(kind) if cls.__module__.startswith("archfront.space.library")
]
REQUIRED = {"width": 24, "classes": 5, "mixer": IdentityMixer()}
SIZES = [(16, 16), (8, 12), (7, 9), (1, 3)]


def default(cls: type[Spec], **values: object) -> Spec:
    """`cls` with its default fields, and ordinary values for fields that have none."""
    needed = {f.name: REQUIRED[f.name] for f in fields(cls) if f.default is MISSING and f.name in REQUIRED}
    return cls(**{**needed, **values})


def configurations(cls: type[Spec]) -> list[Spec]:
    """`cls` as it stands, and where its host sets them, with another width and stride."""
    specs = [default(cls)]
    if {"width", "stride"} <= {f.name for f in fields(cls)}:
        specs += [default(cls, width=24, stride=1), default(cls, width=16, stride=2), default(cls, width=8, stride=4)]
    return specs


CASES = [
    pytest.param(spec, size, id=f"{spec!r}-{'x'.join(map(str, size))}")
    for cls in BLOCKS
    for spec in configurations(cls)
    for size in SIZES
]


def buildable(spec: Spec, size: tuple[int, int]) -> Feature:
    """The input type of 16 channels and `size`, unless the spec says what would work instead."""
    x = Feature(16, size)
    try:
        spec.output(x)
    except ShapeError as error:
        assert "use " in str(error)
        pytest.skip(str(error))
    return x


@pytest.mark.parametrize(("spec", "size"), CASES)
def test_the_module_yields_the_declared_type_and_gradients_reach_all_parameters(
    spec: Spec, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    x = buildable(spec, size)
    module = spec.build(x).train()
    output = module(*x.example(2, requires_grad=True))
    assert tuple(output.shape[1:]) == spec.output(x).shapes[0]
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(("spec", "size"), [case for case in CASES if case.values[1] in ((16, 16), (7, 9))])
def test_the_module_builds_and_runs_on_the_meta_device_and_in_double_precision(
    spec: Spec, size: tuple[int, int]
) -> None:
    x = buildable(spec, size)
    shape = (3, *spec.output(x).shapes[0])
    with torch.device("meta"):
        output = spec.build(x)(*x.example(3))
        assert output.device.type == "meta" and output.shape == shape
    output = spec.build(x).double().eval()(*x.example(3, dtype=torch.float64))
    assert output.dtype == torch.float64 and output.shape == shape


@pytest.mark.parametrize("cls", BLOCKS)
def test_a_batch_in_eval_mode_is_computed_image_by_image(cls: type[Spec]) -> None:
    torch.manual_seed(0)
    x = Feature(16, (8, 12))
    module = default(cls).build(x).double().eval()
    (images,) = x.example(3, dtype=torch.float64)
    torch.testing.assert_close(module(images), torch.cat([module(image[None]) for image in images]))


@pytest.mark.parametrize("cls", BLOCKS)
def test_every_block_names_its_paper_and_says_what_it_computes(cls: type[Spec]) -> None:
    assert cls.paper is not None and cls.paper.title and cls.paper.authors and cls.paper.year > 1980
    assert cls.__doc__ and str(cls.paper.year) in cls.__doc__


@pytest.mark.parametrize(
    "cls", [cls for cls in BLOCKS if cls.kind not in ("gate", "mixer")] + [registry["LargeKernel"]]
)
def test_tokens_are_refused_where_an_image_is_needed(cls: type[Spec]) -> None:
    with pytest.raises(ShapeError, match="takes channels x height x width, got 4 tokens of 16"):
        default(cls).output(Tokens(4, 16))


OPTIONS = [
    (MBConv(expand=1), MBConv(kernel=7, expand=6, gate=SqueezeExcite())),
    (FusedMBConv(expand=1), FusedMBConv(kernel=5, expand=6)),
    (Bottleneck(ratio=0.25), Bottleneck(ratio=1.0, operator=Conv(kernel=5))),
    (WideBasic(kernels=(1, 3)), WideBasic(kernels=(3, 3, 5))),
    (MetaFormer(mixer=LargeKernel(kernel=3)), MetaFormer(mixer=LargeKernel(kernel=9), layer_scale=0.1)),
    (WindowAttention(window=3, head_dim=8), WindowAttention(window=7, head_dim=8)),
    *((default(cls), default(cls)) for cls in BLOCKS),
]


@pytest.mark.parametrize(("small", "large"), OPTIONS)
def test_parameters_keep_their_names_and_only_grow_with_the_options_so_that_weights_can_be_shared(
    small: Spec, large: Spec
) -> None:
    ours = small.build(Feature(16, (8, 8))).named_parameters()
    theirs = dict(large.build(Feature(32, (8, 8))).named_parameters())
    for name, parameter in ours:
        assert parameter.ndim == theirs[name].ndim
        assert all(n <= m for n, m in zip(parameter.shape, theirs[name].shape, strict=True)), name
        assert all((m - n) % 2 == 0 for n, m in zip(parameter.shape[2:], theirs[name].shape[2:], strict=True)), name


@pytest.mark.parametrize("cls", BLOCKS)
def test_declared_fused_projections_exist_and_divide_evenly(cls: type[Spec]) -> None:
    for module in default(cls).build(Feature(16, (8, 8))).modules():
        for name, segments in getattr(module, "fused_outputs", {}).items():
            assert getattr(module, name).weight.shape[0] % segments == 0
