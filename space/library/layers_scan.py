"""Linear recurrences along a sequence, all steps in parallel."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def doubled(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_(t-1) + drive_t with h_(-1) = 0, along the last dimension.

    After the pass with distance s every h_t holds the last 2 s steps, so log2 of the length passes do
    (Hillis and Steele, 1986, Data Parallel Algorithms). Decays in [0, 1] are only ever multiplied, so nothing overflows.
    """
    distance, length = 1, drive.shape[-1]
    while distance < length:
        near, far = drive[..., distance:], drive[..., :-distance]
        fading = decay[..., distance:]
        drive = torch.cat((drive[..., :distance], near + fading * far), -1)
        decay = torch.cat((decay[..., :distance], fading * decay[..., :-distance]), -1)
        distance *= 2
    return drive


class LinearRecurrence(torch.autograd.Function):
    """`doubled` with a backward pass that keeps two tensors in place of two for every pass.

    The gradient obeys the same recurrence from the end: g_t = dL/dh_t + decay_(t+1) g_(t+1).
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        states = doubled(decay, drive)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        decay, states = ctx.saved_tensors
        following = F.pad(decay[..., 1:], (0, 1))
        drive = doubled(following.flip(-1), gradient.flip(-1)).flip(-1)
        return drive * F.pad(states[..., :-1], (1, 0)), drive


def recurrence(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_(t-1) + drive_t with h_(-1) = 0, along the last dimension; decay in [0, 1]."""
    if torch.is_grad_enabled() and (decay.requires_grad or drive.requires_grad):
        states: Tensor = LinearRecurrence.apply(decay, drive)  # type: ignore[no-untyped-call]
        return states
    return doubled(decay, drive)


class SelectiveScan(nn.Module):
    """A state space model whose step, input and output maps depend on the input, for `sequences` sequences side by side.

    (N, sequences, channels, L) to the same: h_t = exp(d_t A) h_(t-1) + d_t B_t u_t, y_t = C_t h_t + D u_t, with `states`
    numbers h for every channel. Each sequence has parameters of its own.
    """

    def __init__(self, sequences: int, channels: int, rank: int, states: int = 16) -> None:
        super().__init__()
        self.sequences = sequences
        self.states = states
        self.fused_outputs = dict.fromkeys(("step_in", "step", "write", "read", "log_decay", "skip"), sequences)
        width = sequences * channels
        self.step_in = nn.Conv1d(width, sequences * rank, 1, groups=sequences, bias=False)
        self.step = nn.Conv1d(sequences * rank, width, 1, groups=sequences)
        self.write = nn.Conv1d(width, sequences * states, 1, groups=sequences, bias=False)
        self.read = nn.Conv1d(width, sequences * states, 1, groups=sequences, bias=False)
        self.log_decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.skip = nn.Parameter(torch.ones(width))
        # steps between 0.001 and 0.1 at first, as softplus of the bias
        size = torch.empty(width).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        with torch.no_grad():
            nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
            self.step.bias.copy_(size + (-(-size).expm1()).log())  # type: ignore[union-attr]

    def forward(self, u: Tensor) -> Tensor:
        flat = u.flatten(1, 2)
        step = F.softplus(self.step(self.step_in(flat))).unflatten(1, (self.sequences, -1))
        write = self.write(flat).unflatten(1, (self.sequences, 1, self.states))
        read = self.read(flat).unflatten(1, (self.sequences, 1, self.states))
        rates = -self.log_decay.exp().unflatten(0, (self.sequences, -1))
        decay = (step.unsqueeze(3) * rates[..., None]).exp()
        states = recurrence(decay, (step * u).unsqueeze(3) * write)
        y = (states * read).sum(3)
        return y + self.skip.unflatten(0, (self.sequences, -1))[..., None] * u
