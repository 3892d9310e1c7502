"""Linear recurrences along a sequence, all steps in parallel."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def doubled(decay: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
    """h_t = decay_t h_(t-1) + drive_t with h_(-1) = 0, along the last dimension, and the product of decays up to t.

    After the pass with distance s every h_t holds the last 2 s steps, so log2 of the length passes do
    (Hillis and Steele, 1986, Data Parallel Algorithms). Decays in [0, 1] are only ever multiplied, so nothing overflows.
    """
    distance, length = 1, drive.shape[-1]
    while distance < length:
        fading = decay[..., distance:]
        drive = torch.cat((drive[..., :distance], drive[..., distance:] + fading * drive[..., :-distance]), -1)
        decay = torch.cat((decay[..., :distance], fading * decay[..., :-distance]), -1)
        distance *= 2
    return drive, decay


def scanned(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_(t-1) + drive_t with h_(-1) = 0, along the last dimension.

    Chunks of about the root of the length are scanned side by side, then their last states, which the chunks behind
    take up: half the passes over all states that scanning the whole would take.
    """
    length = drive.shape[-1]
    size = 2 ** round(math.log2(length) / 2)
    padding = (0, (size - length % size) % size)
    shape = (*drive.shape[:-1], -1, size)
    inner, fading = doubled(F.pad(decay, padding).reshape(shape), F.pad(drive, padding).reshape(shape))
    ends, _ = doubled(fading[..., -1], inner[..., -1])
    before = F.pad(ends[..., :-1], (1, 0)).unsqueeze(-1)
    return (inner + fading * before).flatten(-2)[..., :length]


class LinearRecurrence(torch.autograd.Function):
    """`scanned` with a backward pass that keeps two tensors in place of two for every pass.

    The gradient obeys the same recurrence from the end: g_t = dL/dh_t + decay_(t+1) g_(t+1).
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        states = scanned(decay, drive)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        following = F.pad(decay[..., 1:], (0, 1))
        drive = scanned(following.flip(-1), gradient.flip(-1)).flip(-1)
        return drive * F.pad(states[..., :-1], (1, 0)), drive


def recurrence(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_(t-1) + drive_t with h_(-1) = 0, along the last dimension; decay in [0, 1]."""
    if torch.is_grad_enabled() and (decay.requires_grad or drive.requires_grad):
        states: Tensor = LinearRecurrence.apply(decay, drive)  # type: ignore[no-untyped-call]
        return states
    return scanned(decay, drive)


class SelectiveScan(nn.Module):
    """A state space model whose step, input and output maps depend on the input, for `sequences` sequences side by side.

    (N, sequences, channels, L) to the same: h_t = exp(d_t A) h_(t-1) + d_t B_t u_t, y_t = C_t h_t + D u_t, with `states`
    numbers h for every channel. Each sequence has parameters of its own.
    """

    def __init__(self, sequences: int, channels: int, rank: int, states: int = 16) -> None:
        super().__init__()
        self.sequences = sequences
        self.states = states
        self.fused_outputs = dict.fromkeys(("step_in", "step", "write", "read"), sequences)
        width = sequences * channels
        self.step_in = nn.Conv1d(width, sequences * rank, 1, groups=sequences, bias=False)
        self.step = nn.Conv1d(sequences * rank, width, 1, groups=sequences)
        self.write = nn.Conv1d(width, sequences * states, 1, groups=sequences, bias=False)
        self.read = nn.Conv1d(width, sequences * states, 1, groups=sequences, bias=False)
        self.log_decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(sequences, channels, 1))
        self.skip = nn.Parameter(torch.ones(sequences, channels))
        # steps between 0.001 and 0.1 at first, as softplus of the bias
        size = torch.empty(width).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        with torch.no_grad():
            nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
            self.step.bias.copy_(size + (-(-size).expm1()).log())  # type: ignore[union-attr]

    def forward(self, u: Tensor) -> Tensor:
        flat = u.flatten(1, 2)
        step = F.softplus(self.step(self.step_in(flat))).reshape(u.shape)
        shared = (-1, self.sequences, 1, self.states, u.shape[3])
        write, read = self.write(flat).reshape(shared), self.read(flat).reshape(shared)
        decay = (step.unsqueeze(3) * -self.log_decay.exp()[..., None]).exp()
        states = recurrence(decay, (step * u).unsqueeze(3) * write)
        y: Tensor = (states * read).sum(3) + self.skip[..., None] * u
        return y
