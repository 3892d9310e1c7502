"""What a network looks at: effective receptive fields, and the tree of blocks that a score depends on most."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from archfront.space.network import NetworkModule


def receptive_field(module: nn.Module, images: Tensor) -> Tensor:
    """How much the centre of the map that `module` yields depends on every pixel of its input: (H, W), sum 1.

    The absolute gradient of the sum of the centre's channels, summed over input channels and averaged over `images`
    (N, C, H, W). Luo et al., 2016, Understanding the Effective Receptive Field in Deep Convolutional Neural Networks.
    """
    images = images.detach().requires_grad_()
    y = module(images)
    centre = y[:, :, y.shape[2] // 2, y.shape[3] // 2].sum()
    field = torch.autograd.grad(centre, images)[0].abs().sum(1).mean(0)
    return field / field.sum()


def share_of_pixels(field: Tensor, energy: float) -> float:
    """The smallest share of the pixels that together hold `energy` (0 to 1) of a receptive field."""
    held = field.flatten().sort(descending=True).values.double().cumsum(0)
    return float((held < energy * held[-1]).sum() + 1) / field.numel()


class Region(NamedTuple):
    """A part of an image, in shares of its height and width."""

    top: float
    left: float
    extent: float


def gradcat(network: NetworkModule, image: Tensor, score: int) -> tuple[Region, ...]:
    """The path through a tree of blocks that a score of one image (C, H, W) depends on most, from the root down.

    From the coarsest stage to the finest, the absolute sum over channels of map times gradient of the score is averaged
    over the four quarters of the region, and the path goes on into the largest. Zhang et al., 2022, Nested Hierarchical
    Transformer, where quarters are the blocks of attention of the next finer stage.
    """
    maps, x = [], network.stem(image[None])
    for stage in network.stages:  # type: ignore[attr-defined] # a Sequential
        x = stage(x)
        maps.append(x)
    gradients = torch.autograd.grad(network.head(x)[0, score], maps)
    region, path = Region(0.0, 0.0, 1.0), []
    for features, gradient in zip(reversed(maps), reversed(gradients), strict=True):
        region = _largest_quarter((features * gradient).sum(1)[0].abs(), region)
        path.append(region)
    return tuple(path)


def _largest_quarter(heat: Tensor, region: Region) -> Region:
    half = region.extent / 2
    quarters = [Region(region.top + i * half, region.left + j * half, half) for i in (0, 1) for j in (0, 1)]
    return max(quarters, key=lambda quarter: float(_inside(heat.detach(), quarter).mean()))


def _inside(heat: Tensor, region: Region) -> Tensor:
    """What of a map lies in a region; at least one position."""
    rows, columns = (
        slice(start := int(edge * n), max(start + 1, int((edge + region.extent) * n)))
        for edge, n in zip((region.top, region.left), heat.shape, strict=True)
    )
    return heat[rows, columns]
