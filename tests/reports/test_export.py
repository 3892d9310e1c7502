"""The export bundle: files that stand on their own and were checked against the network in memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from archfront.evaluators.data import load_data
from archfront.reports import export as export_module
from archfront.reports.card import describe
from archfront.reports.export import ExportError, export
from archfront.reports.onnx_file import run_onnx
from archfront.reports.weights import load_weights
from archfront.space.architecture import Architecture
from archfront.space.files import StorageError
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.types import Image

ARCHITECTURE = Architecture(
    Image(3, 16, 16),
    Network(
        stem=ConvStem(width=8),
        stages=(
            Stage(width=8, block=MBConv(expand=2, gate=SqueezeExcite())),
            Stage(width=16, stride=2, block=MetaFormer(mixer=SelfAttention(heads=2))),
        ),
        head=Classifier(classes=3),
    ),
)

CARD: Mapping[str, Any] = {
    "data": {
        "classes": ["ant", "bee", "cat"],
        "normalise": {"scale": 255.0, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]},
        "fingerprint": "f00",
    },
    "metrics": {
        "test_accuracy": {"value": 0.8125, "provenance": "measured", "spread": 0.01, "samples": 1000},
        "taste": {"value": 3.5, "provenance": "predicted"},
    },
    "training": {"epochs": 2},
}


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network whose every weight and statistic is random."""
    torch.manual_seed(0)
    network: nn.Module = ARCHITECTURE.build()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    network.train()
    network(torch.randn(16, 3, 16, 16))
    return network.eval()


@pytest.fixture(scope="module")
def bundle(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("export") / "new"
    return export(ARCHITECTURE, trained.state_dict(), folder, name="small", card=CARD)


def test_all_files_are_written_and_nothing_else(bundle: Any) -> None:
    names = {"small.py", "small.safetensors", "small.onnx", "small.json"}
    assert {path.name for path in bundle.paths} == names
    assert {path.name for path in bundle.code.parent.iterdir()} == names
    assert len({path.stat().st_mode for path in bundle.paths}) == 1


def test_weights_are_those_given_bit_for_bit(bundle: Any, trained: nn.Module) -> None:
    written, state = load_file(bundle.weights), trained.state_dict()
    assert written.keys() == state.keys()
    assert all(torch.equal(written[key], state[key]) for key in state)


def test_differences_are_within_their_limits_and_on_the_card(bundle: Any) -> None:
    card = json.loads(bundle.card.read_text())
    assert bundle.differences["python"] <= 1e-6
    assert bundle.differences["onnx"] <= 1e-4
    assert card["verification"] == {"max_relative_difference": bundle.differences, "onnx_opset": 20}


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_onnx_equals_the_network_at_any_batch_size(rows: int, bundle: Any, trained: nn.Module) -> None:
    inputs = torch.randn(rows, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(run_onnx(bundle.onnx, inputs)[0], trained(inputs), atol=1e-4, rtol=1e-4)


def test_onnx_is_one_valid_file_with_its_weights(bundle: Any) -> None:
    import onnx

    model = onnx.load(bundle.onnx, load_external_data=False)
    onnx.checker.check_model(model)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 20
    assert not any(onnx.external_data_helper.uses_external_data(t) for t in model.graph.initializer)


def test_the_card_says_what_the_network_is_and_keeps_what_it_was_given(bundle: Any) -> None:
    card = json.loads(bundle.card.read_text())
    assert Architecture.from_dict(card["architecture"]) == ARCHITECTURE
    assert card["digest"] == ARCHITECTURE.digest
    assert card["params"] == sum(p.numel() for p in ARCHITECTURE.build().parameters())
    assert {key: card[key] for key in CARD} == CARD
    assert card["versions"]["torch"] == torch.__version__
    for name, entry in card["files"].items():
        content = (bundle.card.parent / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert set(card["files"]) == {"small.py", "small.safetensors", "small.onnx"}


def test_the_code_says_classes_normalisation_and_metrics(bundle: Any) -> None:
    docstring = bundle.code.read_text().split('"""')[1]
    assert "Classes: ant, bee, cat." in docstring
    assert "(x / 255 - mean) / std\n    x     0 to 255, as in 8-bit images\n    mean  0.5, 0.4, 0.3\n" in docstring
    assert "    std   0.2, 0.2, 0.1\n" in docstring
    assert "test_accuracy  81.25 % (measured, ± 1 %, 1,000 samples)" in docstring
    assert "taste          3.5 (predicted)" in docstring


def test_what_is_said_of_the_digits_turns_them_into_the_inputs_that_networks_were_trained_on() -> None:
    from sklearn.datasets import load_digits

    data = load_data("digits")
    said = describe({"data": data.to_dict()})
    assert "(x / 255 - mean) / std\n    x     scikit-learn's digits, which are 0 to 16, times 15\n" in said
    mean, std = (float(line.split()[1]) for line in said.splitlines()[-2:])
    x = 15 * torch.tensor(load_digits().images)[data.test.rows]
    assert ((x / 255 - mean) / std - data.normalise(data.test.images)[:, 0]).abs().max() < 1e-4


def test_floats_are_said_to_be_normalised_as_they_are_stored() -> None:
    said = describe({"data": {"normalise": {"scale": 1.0, "mean": [0.5], "std": [0.2]}}})
    assert "(x - mean) / std\n    x     the values that the data set stores\n" in said


def test_the_program_finds_the_weights_beside_it(bundle: Any, tmp_path: Path) -> None:
    run = [sys.executable, "-I", "-B", str(bundle.code)]
    assert "output (1, 3)" in subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_exporting_again_replaces_and_leaves_no_stale_onnx(trained: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_text("of an earlier export")
    (tmp_path / "small.py").write_text("of an earlier export")
    result = export(ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card={}, onnx=False)
    assert result.onnx is None
    assert {path.name for path in tmp_path.iterdir()} == {"small.py", "small.safetensors", "small.json"}
    assert "earlier" not in result.code.read_text()


def test_inputs_can_be_given(trained: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"at least 2 inputs of shape \(3, 16, 16\)"):
        export(ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card={}, batch=torch.zeros(2, 3, 8, 8))
    export(
        ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card={}, onnx=False, batch=torch.ones(2, 3, 16, 16)
    )


# --------------------------------------------------------------------------- failures leave nothing behind


def test_weights_of_another_network_are_refused(trained: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in trained.state_dict().items() if "stem" not in key}
    with pytest.raises(ExportError, match=r"(?s)not those of architecture .*stem\.conv"):
        export(ARCHITECTURE, state, tmp_path, name="small", card={})
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_fail_the_check(trained: nn.Module, tmp_path: Path) -> None:
    state: dict[str, Tensor] = {key: value.clone() for key, value in trained.state_dict().items()}
    state["head.linear.bias"][1] = float("nan")
    with pytest.raises(ExportError, match="differs from the network by nan"):
        export(ARCHITECTURE, state, tmp_path, name="small", card={}, onnx=False)
    assert not list(tmp_path.iterdir())


def test_code_that_computes_something_else_is_refused_with_the_difference(
    trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: Any, **kwargs: Any) -> str:
        return original(*args, **kwargs).replace("(self.stages(self.stem(x)))", "(self.stages(self.stem(1.01 * x)))")

    original = export_module.source
    monkeypatch.setattr(export_module, "source", wrong)
    with pytest.raises(ExportError, match=r"small\.py differs from the network by 0\.0\d+ .*limit 1e-05"):
        export(ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card={}, onnx=False)
    assert not list(tmp_path.iterdir())


def test_code_is_checked_where_torch_is_found_by_a_search_path_alone(
    trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with PYTHONPATH or the packages of a user, which a clean interpreter does not look at."""
    monkeypatch.setattr(sys, "executable", getattr(sys, "_base_executable", sys.executable))
    found = export(ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card={}, onnx=False)
    assert found.differences["python"] <= 1e-5


def test_code_that_needs_archfront_is_refused_with_what_python_says(
    trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_module.source
    monkeypatch.setattr(export_module, "source", lambda *a, **k: original(*a, **k) + "\nimport archfront\n")
    with pytest.raises(ExportError, match=r"does not run on its own:(.|\n)*archfront is not there"):
        export(ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card={}, onnx=False)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"digest": "x"}, "'digest' is written by the export"),
        ({"note": object()}, "not JSON serializable"),
        ({"loss": float("nan")}, "finite numbers"),
        ({"metrics": {"accuracy": 0.5}}, r"metrics\.accuracy needs 'value' and 'provenance'"),
        ({"data": {"classes": ["a"]}}, "1 names, the network yields 3 scores"),
        ({"data": {"normalise": {"mean": [0.5], "std": [1, 1, 1]}}}, r"normalise\.mean has 1 values, the input 3"),
    ],
)
def test_a_wrong_card_is_refused(card: Mapping[str, Any], message: str, trained: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export(ARCHITECTURE, trained.state_dict(), tmp_path, name="small", card=card)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_named(trained: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot export small to .*file: "):
        export(ARCHITECTURE, trained.state_dict(), tmp_path / "file", name="small", card={})


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.complex64]
)
def test_the_reader_of_weights_reads_every_type_that_it_names(dtype: torch.dtype, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    holder = nn.Module()
    values = torch.arange(6).reshape(2, 3).to(dtype)
    save_file({"values": values, "scalar": torch.tensor(3)}, tmp_path / "w.safetensors", {"made": "by hand"})
    holder.register_buffer("values", torch.zeros(2, 3, dtype=dtype))
    holder.register_buffer("scalar", torch.tensor(0))
    load_weights(holder, tmp_path / "w.safetensors")
    assert torch.equal(holder.values, values)
    assert int(holder.scalar) == 3
