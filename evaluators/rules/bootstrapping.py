"""Block-wise training without labels: the paths of a block learn to predict what they say together about another view."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from archfront.space.architecture import Architecture
from archfront.space.network import Network
from archfront.space.resolve import Assignment
from archfront.space.spec import Paper
from archfront.space.types import Feature, Pyramid

from ..augment import augment_named
from ..store import SupernetError
from ..supernet import Candidate, Supernet
from .rule import CANDIDATES, Rule, Step

PATHS = 4
"""Paths a step."""

POPULATION = 16
"""Random paths of a block among which the one that the next blocks build on is chosen."""

MOMENTUM = 0.99
"""Of the moving average at the start of a block; it rises to 1 by half a cosine."""

HIDDEN, SIZE = 256, 64
"""Of the projections."""

VIEWS = "crop+cutout"


class Projection(nn.Module):
    """Linear, batch normalisation, ReLU, linear; takes vectors with fewer channels than it has inputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels, HIDDEN, bias=False)
        self.norm = nn.BatchNorm1d(HIDDEN, track_running_stats=False)
        self.second = nn.Linear(HIDDEN, SIZE)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.linear(x, self.first.weight[:, : x.shape[1]])
        output: Tensor = self.second(F.relu(self.norm(hidden)))
        return output


class Bootstrapping(Rule):
    """One block after the other is trained on images without their labels; a block is a stage, the first with the stem.

    Two views of a batch go through the blocks before, along the path that was chosen there, and then through `PATHS`
    random paths of the block. Each path predicts, by two projections on top, the mean over the paths of what their
    moving averages say about the other view; the loss is 2 - 2 cos. Then the path whose predictions are nearest to the
    mean of a random population is chosen, and the next block begins. The paper chooses on held-out images; here it is
    the batch at hand, and `BlockAgreement` rates with held-out ones.

    The head is not trained, so the weights have no accuracy: candidates are rated with `BlockAgreement`. A choice that
    stands in no stage (a tied width) is made with the first block.
    """

    name = "bootstrapping"
    rating = "block_agreement"
    paper = Paper(
        "BossNAS: Exploring Hybrid CNN-transformers with Block-wisely Self-supervised Neural Architecture Search",
        "Li, Tang, Wang, Peng et al.",
        2021,
        "bossnas",
    )

    def __init__(self, supernet: Supernet, *args: Any, **options: Any) -> None:
        super().__init__(supernet, *args, **options)
        self.blocks = blocks_of(self.space.network)
        self.target = Supernet(self.space, device=supernet.device)
        self.target.store.load_state_dict(supernet.store.state_dict())
        self.target_candidate = lru_cache(maxsize=CANDIDATES)(self.target.candidate)
        widths = [self._widest(block) for block in range(self.blocks)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.project = nn.ModuleList(Projection(width) for width in widths).to(supernet.device)
            self.predict = nn.ModuleList(Projection(SIZE) for _ in widths).to(supernet.device)
        self.target_project = nn.ModuleList(Projection(width) for width in widths).to(supernet.device)
        self.target_project.load_state_dict(self.project.state_dict())
        self.chosen = torch.full((len(self.space.sites),), -1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "target_candidate"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.target_candidate = lru_cache(maxsize=CANDIDATES)(self.target.candidate)

    def _widest(self, block: int) -> int:
        """The most channels that anything in a block yields."""
        yielded = (p.spec.output(p.input) for p in self.space.parts() if p.path.startswith(f"stages[{block}]"))
        return max(last_of(found).channels for found in yielded if isinstance(found, (Feature, Pyramid)))

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The shared weights and the projections."""
        heads = {**_named("project", self.project), **_named("predict", self.predict)}
        return {**self.supernet.store.parameters, **heads}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The moving averages, and the options chosen so far (-1: none)."""
        weights = {f"target/{name}": value for name, value in self.target.store.state_dict().items()}
        heads = {name: value.detach() for name, value in _named("target_project", self.target_project).items()}
        return {**weights, **heads, "chosen": self.chosen}

    # ------------------------------------------------------------------ a step

    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        position = step.progress * self.blocks
        block = min(int(position), self.blocks - 1)
        views = self.views(x, step.rng)
        for done in range(block):
            self.settle(done, views, step.rng)
        self.follow(block, position - block)
        paths = [self.path(block, step.rng) for _ in range(PATHS)]
        with torch.no_grad():
            said = [self.target_mean(block, paths, view) for view in views]
        losses = []
        for path in paths:
            first, second = (self.prediction(block, path, view) for view in views)
            loss = distance(first, said[1]).mean() + distance(second, said[0]).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def views(self, x: Tensor, rng: random.Random) -> list[Tensor]:
        """Two augmentations of a batch."""
        augment = augment_named(VIEWS, (x.shape[2], x.shape[3]))
        assert augment is not None
        labels = torch.zeros(len(x), dtype=torch.int64)
        seeds = rng.randrange(2**62), rng.randrange(2**62)
        return [augment(x, labels, 1, Generator().manual_seed(seed))[0] for seed in seeds]

    def path(self, block: int, rng: random.Random) -> Architecture:
        """A random path of a block, behind those chosen for the blocks before."""
        return self.draw(rng, self.prefix(block))

    def prefix(self, block: int) -> Assignment:
        """The options chosen for the blocks before one."""
        sites = enumerate(self.space.sites)
        return {
            path: int(self.chosen[i])
            for i, path in sites
            if self.chosen[i] >= 0 and block_of(path, self.blocks) < block
        }

    def prediction(self, block: int, path: Architecture, view: Tensor) -> Tensor:
        """What a path says about a view, (N, SIZE), not normalised."""
        features = pooled(through(self.candidate(path).train(), block, view))
        output: Tensor = self.predict[block](self.project[block](features))
        return output

    def target_mean(self, block: int, paths: list[Architecture], view: Tensor) -> Tensor:
        """The mean over paths of what the moving averages say, each of length 1."""
        said = []
        for path in paths:
            features = pooled(through(self.target_candidate(path).train(), block, view))
            said.append(F.normalize(self.target_project[block](features), dim=1))
        return torch.stack(said).mean(0)

    @torch.no_grad()
    def follow(self, block: int, progress: float) -> None:
        """Move the averages of a block towards its weights."""
        keep = 1 - (1 - MOMENTUM) * (math.cos(math.pi * progress) + 1) / 2
        own = (f"stages[{block}]", "stem") if block == 0 else (f"stages[{block}]",)
        for name, value in self.target.store.parameters.items():
            if name.startswith(own):
                value.lerp_(self.supernet.store.parameters[name], 1 - keep)
        pairs = zip(self.target_project[block].parameters(), self.project[block].parameters(), strict=True)
        for average, value in pairs:
            average.lerp_(value, 1 - keep)

    # ------------------------------------------------------------------ from block to block

    @torch.no_grad()
    def settle(self, block: int, views: list[Tensor], rng: random.Random) -> None:
        """Choose the path of a block that the next ones build on, unless that was done."""
        sites = [(i, path) for i, path in enumerate(self.space.sites) if block_of(path, self.blocks) == block]
        if not sites or any(self.chosen[i] >= 0 for i, _ in sites):
            return
        paths = [self.path(block, rng) for _ in range(POPULATION)]
        said = torch.stack([self.said(block, path, views) for path in paths])
        away = self.group.mean_((said - said.mean((0, 1))).square().sum(-1).mean((1, 2)))
        best = paths[int(away.argmin())]
        picks = self.space.assignment(best)
        for i, path in sites:
            self.chosen[i] = picks.get(path, -1)

    def said(self, block: int, path: Architecture, views: list[Tensor]) -> Tensor:
        """What a path says about views, of length 1: (views, N, SIZE)."""
        return torch.stack([F.normalize(self.prediction(block, path, view), dim=1) for view in views])


def blocks_of(network: object) -> int:
    """The number of stages.

    Raises:
        SupernetError: the network of the space has no stages.
    """
    if not isinstance(network, Network):
        raise SupernetError(f"block-wise training takes spaces of a Network with stages, not of {network!r}")
    return len(network.stages)


def block_of(site: str, blocks: int) -> int:
    """The block in which a site is decided."""
    found = re.match(r"stages\[(\d+)\]", site)
    if found:
        return int(found[1])
    return blocks - 1 if site.startswith("head") else 0


def through(candidate: Candidate, block: int, x: Tensor) -> Tensor | tuple[Tensor, ...]:
    """The output of a block; gradients flow into that block alone."""
    parameters = candidate.parameters()
    with torch.no_grad():
        for name in _children(0, block):
            x = _call(candidate, name, parameters, x)
    for name in _children(block, block + 1):
        x = _call(candidate, name, parameters, x)
    return x


def _children(start: int, end: int) -> Iterator[str]:
    """The children of the network that make the blocks from `start` up to `end`."""
    if start == 0 and end > 0:
        yield "stem"
    yield from (f"stages.{i}" for i in range(start, end))


def _call(candidate: Candidate, name: str, parameters: Mapping[str, Tensor], x: Any) -> Any:
    own = {key.removeprefix(f"{name}."): value for key, value in parameters.items() if key.startswith(f"{name}.")}
    return functional_call(candidate.module.get_submodule(name), own, (x,))


def pooled(maps: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The mean over all positions, (N, C); of several maps the last."""
    last = maps if isinstance(maps, Tensor) else maps[-1]
    return last.flatten(2).mean(2)


def last_of(found: Feature | Pyramid) -> Feature:
    """The feature type itself, or the last level."""
    return found if isinstance(found, Feature) else found.levels[-1]


def distance(one: Tensor, other: Tensor) -> Tensor:
    """2 - 2 cos, (N,): the squared distance of two vectors brought to length 1."""
    return 2 - 2 * F.cosine_similarity(one, other, dim=1)


def _named(name: str, modules: nn.Module) -> dict[str, Tensor]:
    return {f"{name}/{key}": value for key, value in modules.named_parameters()}
