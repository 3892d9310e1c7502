"""Torch without conversion: eager, which is labelled and for comparison, and compiled by Inductor at run time."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.domains import children
from archfront.space.serial import decode, encode
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

from .. import worker
from ..profile import LatencyError, RuntimeName
from .base import DTYPES, Runtime, Source
from .workload import PROBES, example_module, nested, tensors


class Eager(Runtime):
    """Modules called as they are. Not what edge devices run: labelled, and for comparison.

    A worker builds the module from its spec, as plain data: that needs no unpickling and no conversion (a saved
    `torch.export` program is no eager module any more, and takes a second a block). Files that define blocks are
    imported there by name, or from their path.
    """

    name: ClassVar[RuntimeName] = "torch"
    precisions = ("fp32", "fp16", "bf16")

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        spec, x = source.workload
        modules = {cls.__module__: _source(cls) for cls in spec_classes(spec) if cls.__name__ not in PROBES}
        model = {
            "kind": "torch",
            "spec": encode(spec),
            "input": x.to_dict(),
            "modules": modules,
            "path": sys.path,
            "provider": source.profile.provider,
            "batch": source.profile.batch,
            "precision": source.profile.precision,
        }
        return model, "none"

    def run(self, model: Mapping[str, Any], source: Source) -> list[Tensor]:
        """Not through the worker's loader, which imports the files of blocks: a script must not run within itself."""
        return tensors(call_of(source.module, model["provider"])(*source.cast()[1]))


def spec_classes(value: object) -> set[type[Spec]]:
    """The classes of all specs inside `value`."""
    inner = set().union(*map(spec_classes, children(value)))
    return inner | {type(value)} if isinstance(value, Spec) else inner


def _source(cls: type[Spec]) -> str:
    try:
        return str(Path(inspect.getfile(cls)).resolve())
    except (TypeError, OSError):
        raise LatencyError(
            f"{cls.__name__} was defined interactively; torch eager is measured in fresh processes, which must be able "
            "to import it: put it into a file"
        ) from None


def import_source(name: str, file: str) -> ModuleType:
    """Import the module `name`, from the import path if that leads to `file`, else from the file itself."""
    if name != "__main__" and name in sys.modules:
        return sys.modules[name]
    try:
        found = None if name == "__main__" else importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is not None and found.origin is not None and Path(found.origin).resolve() == Path(file):
        return importlib.import_module(name)
    name = "__mp_main__" if name == "__main__" else name  # a script's `if __name__ == "__main__"` must not run again
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def call_of(module: nn.Module, provider: str) -> Callable[..., Any]:
    """The module as "eager" or "inductor" runs it."""
    return torch.compile(module, dynamic=False) if provider == "inductor" else module


def load_eager(model: Mapping[str, Any]) -> worker.Session:
    """In a worker: the module that `Eager.convert` described, ready to run, compiled if its provider is Inductor."""
    sys.path.extend(entry for entry in model["path"] if entry not in sys.path)
    for name, file in model["modules"].items():
        import_source(name, file)
    kind = model["spec"]["type"]
    spec = PROBES[kind]() if kind in PROBES else decode(model["spec"], "spec")
    module, inputs = example_module((spec, FeatureType.from_dict(model["input"])), model["batch"])
    dtype = DTYPES.get(model["precision"], torch.float32)
    arguments = nested(inputs, lambda t: t.to(dtype))
    call = call_of(module.to(dtype), model["provider"])

    def run() -> object:
        with torch.inference_mode():
            return call(*arguments)

    return run
