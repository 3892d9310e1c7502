"""How strongly a network combines parts of an image, by the number of other parts that it sees beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from archfront.space.errors import ArchfrontError

Score = Callable[[Tensor], Tensor]


class InteractionError(ArchfrontError):
    """An interaction that cannot be measured as asked for."""


def interaction_strength(
    score: Score,
    image: Tensor,
    grid: int = 4,
    orders: Sequence[int] = (0, 7, 14),
    pairs: int = 16,
    contexts: int = 4,
    baseline: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """The mean over pairs (i, j) of |E_S[f(S + i + j) - f(S + i) - f(S + j) + f(S)]|, one number an order |S|.

    f is the score of the image of which only the tiles in a set are visible, the others at `baseline`. S is drawn from
    the tiles beside i and j: few of them show whether the network combines local evidence, many whether it needs all of
    it. A score that adds up contributions of single tiles has strength 0 at every order. The strengths divided by their
    mean over the orders are those of MogaNet's figures.

    Args:
        score: of every image of a batch (N, C, H, W); (N,). Log-odds of the class in the paper.
        image: (C, H, W).
        grid: the image is cut into `grid` x `grid` tiles, as even as its size allows.
        orders: numbers of tiles visible beside each pair, up to grid^2 - 2.
        pairs: of tiles, drawn at random.
        contexts: sets S for each pair and order, drawn at random.
        baseline: the value of invisible pixels; 0 is the mean colour of normalised images.
        seed: of the draws.

    Deng et al., 2022, Discovering and Explaining the Representation Bottleneck of DNNs; used in Li et al., 2022,
    Efficient Multi-order Gated Aggregation Network.

    Raises:
        InteractionError: an order that leaves no room for a pair.
    """
    tiles = grid**2
    wrong = [order for order in orders if not 0 <= order <= tiles - 2]
    if wrong:
        raise InteractionError(
            f"order {wrong[0]}: {tiles} tiles leave 0 to {tiles - 2} beside a pair; use one of those"
        )
    generator = torch.Generator().manual_seed(seed)
    strengths = []
    with torch.no_grad():
        for order in orders:
            drawn = torch.rand(pairs, contexts, tiles, generator=generator)
            pair = drawn[:, :1].argsort(-1)[..., :2].expand(-1, contexts, -1)
            drawn.scatter_(2, pair, 2.0)  # behind all others
            seen = torch.zeros_like(drawn).scatter_(2, drawn.argsort(-1)[..., :order], 1.0)
            effects = sum(
                sign * _scores(score, image, seen.scatter(2, pair, shown), grid, baseline)
                for sign, shown in _corners(pair)
            )
            strengths.append(torch.as_tensor(effects).mean(1).abs().mean())
    return torch.stack(strengths)


def _corners(pair: Tensor) -> list[tuple[int, Tensor]]:
    """The four ways to show a pair of tiles, with the sign that each has in an interaction."""
    ways = (((1.0, 1.0), 1), ((1.0, 0.0), -1), ((0.0, 1.0), -1), ((0.0, 0.0), 1))
    return [(sign, torch.tensor(shown).expand(pair.shape)) for shown, sign in ways]


def _scores(score: Score, image: Tensor, visible: Tensor, grid: int, baseline: float) -> Tensor:
    """The score of the image for every set of visible tiles (pairs, contexts, tiles): (pairs, contexts)."""
    rows, columns = (torch.arange(n) * grid // n for n in image.shape[1:])
    tile = (rows[:, None] * grid + columns).flatten()
    masks = visible.flatten(0, 1)[:, tile].reshape(-1, 1, *image.shape[1:]).to(image)
    scores = [score(image * part + baseline * (1 - part)) for part in torch.split(masks, 64)]
    return torch.cat(scores).reshape(visible.shape[:2]).cpu()
