"""The supernet: shared weights, and candidates that compute with views of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from archfront.space.architecture import Architecture
from archfront.space.network import Part, assemble
from archfront.space.space import Space

from .store import Store

Calibration = Iterable[Tensor]
"""Batches of training images, without labels, from which a candidate's batch statistics are computed."""


class Supernet:
    """One set of shared weights, from which every architecture of `space` takes its own.

    Args:
        space: the space to serve.
        seed: of the initial weights.
        device: where weights and candidates live.
        cached: how many parts to keep built.
        store: how weights are laid out; `MappedStore` maps kernels to smaller ones with trained matrices.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        device: torch.device | str = "cpu",
        cached: int = 8192,
        store: type[Store] = Store,
    ) -> None:
        self.space = space
        self.device = torch.device(device)
        self.store = store(space, seed, device)
        self._cached = cached
        self._part = lru_cache(maxsize=cached)(self._build_part)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the parts that were built."""
        return {name: value for name, value in vars(self).items() if name != "_part"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.device = next(iter(self.store.parameters.values())).device  # where the weights arrived
        self._part = lru_cache(maxsize=self._cached)(self._build_part)

    def _build_part(self, part: Part) -> nn.Module:
        """The module of a part without weights of its own: parameters on the meta device, constant buffers real."""
        with torch.random.fork_rng(devices=[]):
            module = part.spec.build(part.input)
        for child in module.modules():
            for name, parameter in child.named_parameters(recurse=False):
                setattr(child, name, nn.Parameter(parameter.to("meta"), requires_grad=False))
            for name, buffer in child.named_buffers(recurse=False):
                setattr(child, name, buffer.to(self.device))
        return module

    def candidate(self, architecture: Architecture) -> Candidate:
        """The network of an architecture, computing with the shared weights."""
        modules: dict[int, Part] = {}

        def make(part: Part) -> nn.Module:
            module = self._part(part)
            modules[id(module)] = part
            return module

        module = assemble(architecture.network, architecture.input, make)
        places = [(name, modules[id(child)]) for name, child in module.named_modules() if id(child) in modules]
        return Candidate(architecture, module, places, self.store_of(architecture))

    def store_of(self, architecture: Architecture) -> Store:
        """The store that holds the weights of an architecture: there is one for all."""
        return self.store

    def extract(self, architecture: Architecture, calibration: Calibration | None = None) -> nn.Module:
        """A stand-alone module with its weights copied, and its batch statistics computed where `calibration` is given."""
        candidate = self.candidate(architecture)
        if calibration is not None:
            candidate.calibrate(calibration)
        module = architecture.build().to(self.device)
        values = candidate.parameters()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(values[name])
            if calibration is not None:
                statistics = dict(candidate.module.named_buffers())
                for name, buffer in module.named_buffers():
                    buffer.copy_(statistics[name])
        return module


class Candidate:
    """One architecture computing with shared weights. Candidates share built parts: use one at a time.

    `candidate(x)` gives the output for a batch. Gradients flow into the store.
    """

    def __init__(
        self, architecture: Architecture, module: nn.Module, places: list[tuple[str, Part]], store: Store
    ) -> None:
        self.architecture = architecture
        self.module = module
        self.store = store
        self.cuts = [
            (f"{prefix}.{layout.name}" if prefix else layout.name, stored, layout)
            for prefix, part in places
            for layout, stored in store.cuts(part)
        ]

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by their names in the stand-alone module, as differentiable views of the store."""
        return {name: self.store.view(stored, layout) for name, stored, layout in self.cuts}

    def train(self) -> Candidate:
        """Normalise by the statistics of each batch."""
        self.module.train()
        return self

    def eval(self) -> Candidate:
        """Normalise by the statistics that `calibrate` computed."""
        self.module.eval()
        return self

    def __call__(self, x: Tensor) -> Tensor:
        output: Tensor = functional_call(self.module, self.parameters(), (x,))
        return output

    def calibrate(self, batches: Calibration) -> Candidate:
        """Compute the batch statistics afresh, as `calibrate` does. Leaves the candidate in evaluation mode."""
        calibrate(self.module, batches, self)
        return self


@torch.no_grad()
def calibrate(module: nn.Module, batches: Calibration, run: Callable[[Tensor], Tensor] | None = None) -> None:
    """Compute the batch statistics of a module afresh: the average over `batches`, nothing kept from before.

    Shared weights serve architectures with different activations, so running averages of training mean nothing for
    any of them (Yu and Huang, 2019, Universally Slimmable Networks). Leaves the module in evaluation mode.

    Args:
        run: runs a batch through the module, where it is not called itself.
    """
    module.eval()
    normalisations = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [m.momentum for m in normalisations]
    for normalisation in normalisations:
        normalisation.reset_running_stats()
        normalisation.momentum = None  # a plain average over all batches
        normalisation.train()
    for batch in batches if normalisations else ():
        (run or module)(batch)
    for normalisation, momentum in zip(normalisations, momenta, strict=True):
        normalisation.momentum = momentum
        normalisation.eval()
