"""What travels to the workers of a cluster: an evaluator once for all, and the source of blocks that a user defined.

Tensors travel as arrays, which Ray keeps once on every node: all workers there map the same memory. They are read-only
there, whatever torch says; writing to one ends the process. On a worker with a GPU they are copied into its memory.

Nothing names a file: a block of a user's own is sent as the text of the module that defines it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archfront.space.serial import encode
from archfront.space.space import Space
from archfront.space.spec import registry

from .connection import ClusterError

Bytes = NDArray[np.uint8]


class Source(NamedTuple):
    """A module of the user's: its name, where it stood, and its text."""

    module: str
    file: str
    text: str


@dataclass(frozen=True)
class Shipment:
    """An evaluator in the object store, and what must be known before it can be unpacked.

    Args:
        evaluator: reference of the object.
        sources: modules that define blocks or predicates of the space, those that others build on first.
    """

    evaluator: Any
    sources: tuple[Source, ...]

    def open(self) -> Any:
        """The evaluator, in another process.

        Raises:
            ClusterError: a module of the user's cannot be imported there.
        """
        import ray

        for source in self.sources:
            install(source)
        return ray.get(self.evaluator)


def ship(evaluator: object, space: Space) -> Shipment:
    """Put an evaluator of architectures of `space` into the object store."""
    import ray

    with _tensors_as_arrays():
        return Shipment(ray.put(evaluator), sources(space))


# --------------------------------------------------------------------------- tensors


@contextmanager
def _tensors_as_arrays() -> Iterator[None]:
    from ray import util

    for kind in (Tensor, nn.Parameter):
        util.register_serializer(kind, serializer=_taken_apart, deserializer=_put_together)
    try:
        yield
    finally:
        for kind in (Tensor, nn.Parameter):
            util.deregister_serializer(kind)


class _Parts(NamedTuple):
    """A tensor as bytes, in the order in which they lie in memory: results are to be the same to the last bit."""

    data: Bytes
    dtype: torch.dtype
    shape: tuple[int, ...]
    order: tuple[int, ...]
    parameter: bool
    requires_grad: bool


def _taken_apart(tensor: Tensor) -> _Parts:
    plain = tensor.detach().cpu()
    order = tuple(sorted(range(plain.dim()), key=plain.stride, reverse=True))
    laid_out = plain.permute(order).contiguous()
    data = laid_out.reshape(-1).view(torch.uint8).numpy()
    shape = tuple(laid_out.shape)
    return _Parts(data, plain.dtype, shape, order, isinstance(tensor, nn.Parameter), tensor.requires_grad)


def _put_together(parts: _Parts) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the array cannot be written to, which is what is wanted
        data = torch.from_numpy(parts.data)
    inverse = sorted(range(len(parts.order)), key=parts.order.__getitem__)
    tensor = data.view(parts.dtype).reshape(parts.shape).permute(inverse).to(_device())
    return nn.Parameter(tensor, parts.requires_grad) if parts.parameter else tensor.requires_grad_(parts.requires_grad)


def _device() -> str:
    import ray

    return "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"


# --------------------------------------------------------------------------- modules of the user's


def sources(space: Space) -> tuple[Source, ...]:
    """The modules outside archfront that define blocks and predicates of a space.

    Raises:
        ClusterError: the file of one is not there any more.
    """
    blocks = [registry.named(name) for name in dict.fromkeys(_types(encode(space.network)))]
    owners = [base.__module__ for block in blocks for base in reversed(block.__mro__)]
    owners += [predicate.__module__ for predicate in space.where]  # type: ignore[union-attr]
    known = ("archfront", "__main__", *sys.stdlib_module_names)  # what stands in __main__ travels with the evaluator
    return tuple(_source(name) for name in dict.fromkeys(owners) if name.partition(".")[0] not in known)


def _types(data: Any) -> Iterator[str]:
    """The names of the specs in what `encode` gives."""
    inner: Iterable[Any] = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    if isinstance(data, dict) and "type" in data:
        yield data["type"]
    for item in inner:
        yield from _types(item)


def _source(module: str) -> Source:
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or not Path(file).is_file():
        raise ClusterError(f"blocks of the space are defined in module {module}, whose file is not there to be sent")
    return Source(module, file, Path(file).read_text(encoding="utf-8"))


def install(source: Source) -> None:
    """Make a module of the user's importable in this process by its name.

    A module inside a package is imported as it is installed here.

    Raises:
        ClusterError: it cannot be imported; says what it lacks.
    """
    if source.module in sys.modules:
        return
    try:
        if "." in source.module:
            importlib.import_module(source.module)
        else:
            _run(source)
    except ImportError as error:
        raise ClusterError(
            f"{source.file} defines blocks and cannot be imported on a worker ({error}); what it imports has to be in that "
            "file, or installed on every node"
        ) from None


def _run(source: Source) -> None:
    spec = importlib.util.spec_from_loader(source.module, _Text(source), origin=source.file)
    if spec is None:
        raise ImportError(f"no module can be called {source.module}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module
    try:
        _Text(source).exec_module(module)
    except BaseException:
        del sys.modules[source.module]
        raise


class _Text(importlib.abc.InspectLoader):
    """Loads a module from its text."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def get_source(self, fullname: str) -> str:
        return self.source.text
