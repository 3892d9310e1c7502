"""Sampling a map at moved taps of a kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sampled_taps(x: Tensor, offsets: Tensor, kernel: int, stride: int = 1, dilation: int = 1) -> Tensor:
    """The map (N, C, H, W) at every moved tap, bilinear, zero outside: (N, groups, C / groups, taps, H', W').

    `offsets` (N, groups, taps, 2, H', W') displaces each tap of a "same"-padded kernel, row by row, down and right, in
    pixels; all channels of a group are displaced alike.
    """
    height, width = x.shape[2:]
    groups, taps = offsets.shape[1:3]
    rows, columns = offsets.shape[4:]
    share = x.shape[1] // groups
    tap = torch.arange(taps, device=x.device)
    down = offsets[:, :, :, 0] + tap_positions(tap // kernel, kernel, rows, stride, dilation)[:, :, None].to(x.dtype)
    right = offsets[:, :, :, 1] + tap_positions(tap % kernel, kernel, columns, stride, dilation)[:, None].to(x.dtype)
    # grid_sample wants (right, down), with -1 and 1 for the outer edges of the first and last pixel
    grid = torch.stack(((2 * right + 1) / width - 1, (2 * down + 1) / height - 1), -1)
    maps = F.grid_sample(
        x.reshape(-1, share, height, width),
        grid.flatten(0, 1).flatten(1, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return maps.reshape(-1, groups, share, taps, rows, columns)


def tap_positions(steps: Tensor, kernel: int, count: int, stride: int, dilation: int) -> Tensor:
    """Where the taps at `steps` of a kernel are along one axis before they move, for `count` outputs: (taps, count)."""
    starts = torch.arange(count, device=steps.device) * stride
    return ((steps - kernel // 2) * dilation)[:, None] + starts
