"""Few-shot training: the supernet is split in two at the site whose options disagree most about the shared weights."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from archfront.space.architecture import Architecture
from archfront.space.resolve import Assignment
from archfront.space.space import Space
from archfront.space.spec import Paper

from ..store import Store
from ..supernet import Supernet
from .rule import Rule, Step

SITES = 16
"""Sites that are compared; of a space with more, as many random ones."""

CONTEXTS = 2
"""Random architectures in which the options of a site are compared."""


class SplitSupernet(Supernet):
    """Two stores: architectures that take an option of the second group at the split site use the second one.

    `split` holds the index of the site, -1 before there is one, and the options of the second group as bits.
    """

    def __init__(self, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> None:
        super().__init__(space, seed, device)
        self.second = Store(space, seed, device)
        self.split = torch.tensor([-1, 0])

    def store_of(self, architecture: Architecture) -> Store:
        """The store that holds the weights of an architecture."""
        site, group = map(int, self.split)
        option = self.space.assignment(architecture).get(list(self.space.sites)[site]) if site >= 0 else None
        return self.second if option is not None and group >> option & 1 else self.store

    def divide(self, split: Split) -> None:
        """Split; both stores go on from the weights there are."""
        self.second.load_state_dict(self.store.state_dict())
        site = list(self.space.sites).index(split.site)
        self.split.copy_(torch.tensor([site, sum(1 << option for option in split.second)]))


class Split(NamedTuple):
    """A way to split: the site, the options whose architectures move to the second store, the mean cosine between groups."""

    site: str
    second: tuple[int, ...]
    agreement: float


class FewShot(Rule):
    """Single random paths on labels; half-way the store is split in two where gradients of choices disagree most.

    For every site the gradients of the batch's loss are taken with each of its options in otherwise equal architectures.
    The two options with the lowest cosine of gradients (over all shared weights) found two groups, every other option
    joins the one it agrees with more, and the site with the lowest mean cosine between its groups is split. Both stores
    keep the weights trained so far, as in Zhao et al., 2021, Few-Shot Neural Architecture Search; the paper named below
    starts them anew, splits several times, and cuts the graph of cosines by its minimum.
    """

    name = "few_shot"
    paper = Paper("Generalizing Few-Shot NAS with Gradient Matching", "Hu, Wang, Hong, Li et al.", 2022)
    supernet: SplitSupernet

    @classmethod
    def make_supernet(cls, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> SplitSupernet:
        return SplitSupernet(space, seed, device)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights of both stores; the second one's have no gradient before the split, and are left alone."""
        second = {f"second/{name}": value for name, value in self.supernet.second.parameters.items()}
        return {**self.supernet.store.parameters, **second}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Where the supernet was split."""
        return {"split": self.supernet.split}

    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        if step.progress >= 0.5 and self.supernet.split[0] < 0:
            found = self.most_divided(x, y, step.rng)
            if found is not None:
                self.supernet.divide(found)
                self.candidate.cache_clear()  # some have another store now
        return self.learn(self.draw(step.rng), x, lambda outputs: self.label_loss(outputs, y))[1]

    def most_divided(self, x: Tensor, y: Tensor, rng: random.Random) -> Split | None:
        """The best way to split; None where no site offers a choice."""
        sites = [path for path, site in self.space.sites.items() if len(site.domain.options) > 1]
        chosen = sites if len(sites) <= SITES else sorted(rng.sample(sites, SITES))
        splits = (two_groups(site, self.agreement(site, x, y, rng)) for site in chosen)
        return min((split for split in splits if split is not None), key=lambda split: split.agreement, default=None)

    def agreement(self, site: str, x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
        """The mean cosine between gradients under every two options of a site; NaN where they never met."""
        count = len(self.space.sites[site].domain.options)
        total, met = torch.zeros(count, count), torch.zeros(count, count)
        for _ in range(CONTEXTS):
            gradients = {
                option: self.gradient(architecture, x, y) for option, architecture in self.variants(site, count, rng)
            }
            for a, b in combinations(gradients, 2):
                cosine = torch.nn.functional.cosine_similarity(gradients[a], gradients[b], dim=0)
                total[a, b], total[b, a] = total[a, b] + cosine, total[b, a] + cosine
                met[a, b], met[b, a] = met[a, b] + 1, met[b, a] + 1
        return total / met

    def variants(self, site: str, count: int, rng: random.Random) -> Iterator[tuple[int, Architecture]]:
        """A random architecture with each option of a site, where it can be built with it."""
        picks: Assignment = self.space.assignment(self.draw(rng))
        seed = rng.random()
        for option in range(count):
            architecture = self.draw(random.Random(seed), {**picks, site: option})
            if self.space.assignment(architecture).get(site) == option:
                yield option, architecture

    def gradient(self, architecture: Architecture, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the loss with respect to all weights of the store, as one vector."""
        weights = list(self.supernet.store.parameters.values())
        loss = self.label_loss(self.forward(architecture, x), y)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        return self.group.mean_(torch.cat([gradient.flatten() for gradient in gradients]))


def two_groups(site: str, agreement: Tensor) -> Split | None:
    """The options of a site in two groups, given their cosines; None unless two options met."""
    count = len(agreement)
    pairs = [(float(agreement[a, b]), a, b) for a, b in combinations(range(count), 2) if agreement[a, b].isfinite()]
    if not pairs:
        return None
    _, first, second = min(pairs)
    known = agreement.nan_to_num(0.0)
    joined = [o for o in range(count) if o != first and (o == second or known[o, second] > known[o, first])]
    between = [value for value, a, b in pairs if (a in joined) != (b in joined)]
    return Split(site, tuple(joined), sum(between) / len(between))
