"""One network as files that stand on their own: Python source, weights, ONNX, and a card that says what they are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archfront.hw_profiles.runtimes import OPSET
from archfront.space.architecture import Architecture
from archfront.space.files import StorageError

from .card import check_card, describe, own_card, to_json
from .definitions import ExportError
from .onnx_file import run_onnx, write_onnx
from .source import check_name, source

CODE_TOLERANCE = 1e-5
ONNX_TOLERANCE = 1e-4
"""Largest differences allowed to the network in memory, as a share of its largest output (of 1 where that is less)."""


@dataclass(frozen=True)
class ExportResult:
    """The files written, and how far the outputs of each are from those of the network in memory (0.0: not at all)."""

    code: Path
    weights: Path
    card: Path
    onnx: Path | None
    differences: Mapping[str, float]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file, the card last."""
        return tuple(path for path in (self.weights, self.onnx, self.code, self.card) if path is not None)


def export(
    architecture: Architecture,
    state: Mapping[str, Tensor],
    directory: str | Path,
    *,
    name: str,
    card: Mapping[str, Any],
    onnx: bool = True,
    batch: Tensor | None = None,
) -> ExportResult:
    """Write NAME.py, NAME.safetensors, NAME.onnx and NAME.json to `directory`, once they are known to compute the same.

    The Python file is run in an interpreter of its own in which archfront cannot be imported, the ONNX file in ONNX
    Runtime at two batch sizes; both in evaluation mode. Files appear after all checks have passed, each at once and the
    card last; those of an earlier export of this name are replaced. The network takes normalised inputs: how to
    normalise stands in the card and in the docstring, and is no part of the network.

    Args:
        architecture: what to export.
        state: its weights, as `state_dict()` names them.
        directory: made if it is not there.
        name: of the files and of the function that builds the network; a Python identifier.
        card: JSON data to add to the card. `data` (as `Dataset.to_dict()` gives it: `classes`, `normalise`, ...) and
            `metrics` (by name, each as `Measurement.to_dict()` gives it) go to the docstring too.
        onnx: whether to write ONNX.
        batch: at least 2 normalised inputs to compare outputs on; normal noise by default.

    Raises:
        ExportError: what does not fit, what cannot be exported and why, or by how much outputs differ.
        StorageError: the files cannot be written.
    """
    check_name(name)
    check_card(card, architecture)
    network, inputs = _loaded(architecture, state), _inputs(architecture, batch)
    text = source(architecture, name=name, header=describe(card))
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory) as staging:
            files = _Files(Path(staging), name)
            files.code.write_text(text, encoding="utf-8")
            files.weights.write_bytes(_serialised(network))
            if onnx:
                write_onnx(network, inputs, files.onnx)
            differences = _verify(files, network, inputs)
            params = sum(p.numel() for p in network.parameters())
            own = own_card(architecture, name, params, OPSET if onnx else None, differences, card.get("data", {}))
            files.card.write_text(to_json({**own, "files": files.digests(), **card}), encoding="utf-8")
            return _publish(files, directory, differences)
    except OSError as error:
        raise StorageError(f"cannot export {name} to {directory}: {error.strerror or error}") from error


class _Files:
    """The paths of one export in one directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.code, self.weights, self.onnx, self.card = (
            directory / f"{name}.{suffix}" for suffix in ("py", "safetensors", "onnx", "json")
        )

    def digests(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file but the card."""
        contents = {path.name: path.read_bytes() for path in (self.code, self.weights, self.onnx) if path.exists()}
        return {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }


def _loaded(architecture: Architecture, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = architecture.build()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(f"the weights are not those of architecture {architecture.digest}: {error}") from None
    return network.eval()


def _inputs(architecture: Architecture, batch: Tensor | None) -> Tensor:
    (shape,) = architecture.input.shapes
    if batch is None:
        return torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    if batch.shape[1:] != shape or len(batch) < 2:
        raise ExportError(f"batch: expected at least 2 inputs of shape {shape}, got a tensor {tuple(batch.shape)}")
    return batch.detach().cpu()


def _serialised(network: nn.Module) -> bytes:
    from safetensors.torch import save

    return save({key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()})


def _publish(files: _Files, directory: Path, differences: Mapping[str, float]) -> ExportResult:
    """Put the files where they belong, the card last; all are on disk before the first one replaces another."""
    target = _Files(directory, files.name)
    onnx = target.onnx if files.onnx.exists() else None
    result = ExportResult(target.code, target.weights, target.card, onnx, differences)
    staged = [files.card.with_name(path.name) for path in result.paths]
    for path in staged:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if onnx is None:
        target.onnx.unlink(missing_ok=True)  # one of an earlier export would not go with the new weights
    for path, final in zip(staged, result.paths, strict=True):
        path.replace(final)
    return result


# --------------------------------------------------------------------------- checks of what was written


def _verify(files: _Files, network: nn.Module, inputs: Tensor) -> dict[str, float]:
    """The largest relative difference of each file's outputs, over a batch of one and the whole batch for ONNX."""
    whole, single = _outputs(network, inputs), _outputs(network, inputs[:1])
    differences = {"python": _difference(files.code.name, _run_code(files, inputs), whole, CODE_TOLERANCE)}
    if files.onnx.exists():
        differences["onnx"] = max(
            _difference(files.onnx.name, run_onnx(files.onnx, rows), expected, ONNX_TOLERANCE)
            for rows, expected in ((inputs, whole), (inputs[:1], single))
        )
    return differences


def _outputs(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        output: Tensor | Sequence[Tensor] = network(inputs)
    return [output] if isinstance(output, Tensor) else list(output)


_CHILD = """
import importlib.util
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "archfront":
            raise ImportError("archfront is not there")


sys.meta_path.insert(0, Blocked())
name, code, weights, inputs, outputs, packages = sys.argv[1:]
sys.path.append(packages)

import torch

spec = importlib.util.spec_from_file_location(name, code)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
network = module.load_weights(getattr(module, name)().eval(), weights)
with torch.inference_mode():
    output = network(torch.load(inputs, weights_only=True))
torch.save([output] if isinstance(output, torch.Tensor) else list(output), outputs)
"""
"""What the clean interpreter runs. Names and paths come as arguments, so that nothing of the user's is part of it."""


def _run_code(files: _Files, inputs: Tensor) -> list[Tensor]:
    """What the Python file yields for `inputs` with the weights beside it, in a clean interpreter elsewhere."""
    with tempfile.TemporaryDirectory() as elsewhere:
        given, got = Path(elsewhere, "inputs.pt"), Path(elsewhere, "outputs.pt")
        torch.save(inputs, given)
        packages = Path(torch.__file__).parents[1]  # of a user, or on PYTHONPATH: a clean interpreter looks at neither
        paths = (str(path.resolve()) for path in (files.code, files.weights, given, got, packages))
        command = [sys.executable, "-I", "-B", "-c", _CHILD, files.name, *paths]
        run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ExportError(f"{files.code.name} does not run on its own:\n{run.stderr.strip()[-2000:]}")
        outputs: list[Tensor] = torch.load(got, weights_only=True)
        return outputs


def _difference(what: str, outputs: list[Tensor], expected: list[Tensor], tolerance: float) -> float:
    """The largest difference, as a share of the largest expected output (of 1 where that is less).

    Raises:
        ExportError: above `tolerance`, not a number, or of another shape.
    """
    shapes, wanted = [tuple(y.shape) for y in outputs], [tuple(y.shape) for y in expected]
    if shapes != wanted:
        raise ExportError(f"{what} yields shapes {shapes}, the network {wanted}")
    found, right = (torch.cat([y.flatten() for y in ys]) for ys in (outputs, expected))
    share = float((found - right).abs().max() / right.abs().max().clamp(min=1.0))
    if not share <= tolerance:  # true of NaN as well
        raise ExportError(f"{what} differs from the network by {share:.3g} of its largest output (limit {tolerance:g})")
    return share
