"""What every block of the registry owes: one test for all of them, so that a new block needs none of its own for this."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archfront.evaluators.supernet import Supernet
from archfront.hw_profiles.cost import cost, count, part_cost
from archfront.hw_profiles.runtimes import export_onnx
from archfront.reports.onnx_file import run_onnx
from archfront.reports.source import source
from archfront.space import Architecture, ShapeError, Space, Spec, one_of
from archfront.space.network import Network

from . import contract

BLOCKS = contract.hosted()
block = pytest.mark.parametrize("cls", BLOCKS, ids=[cls.__name__ for cls in BLOCKS])


@pytest.fixture
def doubles() -> Iterator[None]:
    """Compute in float64, where equal means equal."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("cls", contract.library(), ids=[cls.__name__ for cls in contract.library()])
def test_a_block_says_what_it_computes_and_where_it_is_from(cls: type[Spec]) -> None:
    assert cls.__doc__
    assert cls.paper is not None
    assert str(cls.paper.year) in cls.__doc__
    assert len(contract.variants(cls)) > 0


@block
def test_every_variant_yields_the_type_it_declares_and_trains_all_its_parameters(cls: type[Spec]) -> None:
    for x in (contract.INPUT, contract.ODD):
        for part in contract.own_parts(cls, x):
            module = part.spec.build(part.input).train()
            y = module(*part.input.arguments(2, requires_grad=True))  # pooling alone has no parameters
            values = y if isinstance(y, tuple) else (y,)
            assert tuple(tuple(v.shape[1:]) for v in values) == part.spec.output(part.input).shapes, part
            # a weighted sum: the plain sum of normalised features has no gradient
            sum((v * torch.randn_like(v)).sum() for v in values).backward()
            idle = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
            assert not idle, (part, idle)


@block
def test_outputs_are_finite_over_the_range_of_half_precision(cls: type[Spec]) -> None:
    architecture = contract.architecture(cls)
    module = architecture.build().eval()
    for scale in (0.0, 1e-4, 1.0, 6e4):
        with torch.no_grad():
            assert module(scale * architecture.input.example(2)[0]).isfinite().all(), scale


@block
def test_a_batch_in_evaluation_mode_is_computed_image_by_image(cls: type[Spec], doubles: None) -> None:
    architecture = contract.architecture(cls)
    module, (images,) = architecture.build().eval(), architecture.input.example(3)
    with torch.no_grad():
        torch.testing.assert_close(module(images), torch.cat([module(image[None]) for image in images]))


@block
def test_cost_of_the_parts_is_the_cost_of_the_network_and_what_torch_counts_on_the_meta_device(cls: type[Spec]) -> None:
    architecture = contract.architecture(cls)
    total, whole = cost(architecture), count(architecture.build(), architecture.input)
    assert (total.macs, total.contractions, total.params, total.activations) == (
        whole.macs,
        whole.contractions,
        whole.params,
        whole.activations,
    )
    assert total.params == sum(p.numel() for p in architecture.build().parameters())
    for part in contract.own_parts(cls, contract.INPUT)[
        :4
    ]:  # tracing is slow; the other variants use the same operators
        with torch.device("meta"):
            module, arguments = part.spec.build(part.input).eval(), part.input.arguments(1)
        with FlopCounterMode(display=False) as counter:
            module(*arguments)
        assert 2 * part_cost(part.spec, part.input).contractions == counter.get_total_flops(), part


@block
def test_the_exported_source_computes_what_the_module_computes(cls: type[Spec], tmp_path: Path) -> None:
    for number, architecture in enumerate(contract.architectures(cls)[:2]):
        path = tmp_path / f"exported_{number}.py"
        path.write_text(source(architecture, name="net"))
        found = importlib.util.spec_from_file_location(path.stem, path)
        assert found is not None
        assert found.loader is not None
        exported = importlib.util.module_from_spec(found)
        found.loader.exec_module(exported)
        module, copy = architecture.build().eval(), exported.net().eval()
        copy.load_state_dict(module.state_dict())
        (x,) = architecture.input.example(2)
        with torch.no_grad():
            assert torch.equal(module(x), copy(x))


@block
def test_the_onnx_file_computes_what_the_module_computes(cls: type[Spec], tmp_path: Path) -> None:
    architecture = contract.odd_architecture(cls)
    module, (x,) = architecture.build().eval(), architecture.input.example(2)
    export_onnx(module, (x,), tmp_path / "net.onnx")
    with torch.no_grad():
        torch.testing.assert_close(run_onnx(tmp_path / "net.onnx", x)[0], module(x), rtol=1e-4, atol=1e-4)


def elastic(cls: type[Spec]) -> Space:
    """The networks around all variants of a block, at two widths, sharing weights."""
    fitting = [spec for spec in contract.variants(cls) if fits(spec)]
    head = fitting[0]
    template = contract.network(head, width=one_of(16, 32), stem=one_of(16, 32))
    return Space(contract.INPUT, swapped(template, head, one_of(*fitting)))


def fits(spec: Spec) -> bool:
    """Whether a block fits at both widths."""
    try:
        for width in (16, 32):
            Architecture(contract.INPUT, contract.network(spec, width=width, stem=width))
    except ShapeError:
        return False
    return True


def swapped(value: object, old: Spec, new: object) -> Network:
    """`value` with every `old` inside replaced by `new`."""
    from dataclasses import fields

    from archfront.space.domains import Domain

    if value == old:
        return new  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(swapped(v, old, new) for v in value)  # type: ignore[return-value]
    if isinstance(value, Spec) and not isinstance(value, Domain):
        return type(value)(**{f.name: swapped(getattr(value, f.name), old, new) for f in fields(value)})  # type: ignore[return-value]
    return value  # type: ignore[return-value]


@block
def test_a_view_of_the_supernet_is_the_extracted_network(cls: type[Spec], doubles: None) -> None:
    space = elastic(cls)
    supernet = Supernet(space)
    with torch.no_grad():  # weights that start at 0 would hide what stands in front of them
        for parameter in supernet.store.parameters.values():
            parameter += 0.1 * torch.randn_like(parameter)
    (x,) = space.input.example(2, generator=torch.Generator().manual_seed(0))
    calibration = [space.input.example(8, generator=torch.Generator().manual_seed(1))[0]]
    architectures = {space.sample(seed) for seed in range(5)}
    outputs = []
    for architecture in architectures:
        candidate = supernet.candidate(architecture).calibrate(calibration)
        alone = supernet.extract(architecture, calibration).eval()
        with torch.no_grad():
            expected, found = alone(x), candidate.calibrate(calibration)(x)
        assert torch.equal(expected, found), architecture.network
        outputs.append(found)
    assert len({tuple(o.flatten().tolist()) for o in outputs}) > len(outputs) // 2


@block
def test_weights_outside_the_view_get_no_gradient(cls: type[Spec]) -> None:
    space = elastic(cls)
    supernet = Supernet(space)
    architecture = space.sample(0)
    candidate = supernet.candidate(architecture).train()
    y = candidate(space.input.example(4)[0])
    (y * torch.randn_like(y)).sum().backward()
    used = {id(stored) for _, stored, _ in candidate.cuts}
    for name, parameter in supernet.store.parameters.items():
        if id(parameter) not in used:
            assert parameter.grad is None, name
    for name, stored, layout in candidate.cuts:
        assert stored.grad is not None, name
        assert int((stored.grad != 0).sum()) <= torch.Size(layout.shape).numel(), name


def test_the_contract_reaches_every_kind_of_block() -> None:
    assert {cls.kind for cls in BLOCKS} >= {
        "block",
        "gate",
        "mixer",
        "channel mixer",
        "operator",
        "stem",
        "downsample",
        "topology",
        "head",
    }
