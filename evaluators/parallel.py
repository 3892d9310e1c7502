"""Data-parallel training: processes that each take a share of every batch and keep equal weights by averaging gradients.

Li et al., 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor, distributed

from .store import SupernetError


class Group:
    """The processes that train together, of which this one has the number `rank`; here it is alone."""

    rank = 0
    size = 1

    def share(self, batch: Tensor) -> Tensor:
        """The rows of a batch that this process trains on; all shares are of one length."""
        return batch

    def mean_(self, values: Tensor) -> Tensor:
        """The mean over all processes, in place; equal in all of them, bit for bit."""
        return values

    def mean_gradients_(self, parameters: Iterable[Tensor], loss: float) -> float:
        """Average the gradients of all processes, in place, and the loss, which is given back."""
        return loss


ALONE = Group()
"""One process, which has every batch to itself."""

READY = "ready to train "
"""How the line begins with which a process says that it has loaded everything."""


class Peers(Group):
    """Processes that `torch.distributed` joins. Whatever they draw, they must draw alike.

    Args:
        rank: of this one.
        size: how many there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def share(self, batch: Tensor) -> Tensor:
        return batch[self.rank : len(batch) // self.size * self.size : self.size]

    def mean_(self, values: Tensor) -> Tensor:
        distributed.all_reduce(values)
        return values.div_(self.size)

    def mean_gradients_(self, parameters: Iterable[Tensor], loss: float) -> float:
        gradients = [p.grad for p in parameters if p.grad is not None]
        values = torch.cat([*(g.flatten() for g in gradients), gradients[0].new_tensor([loss])])
        *means, mean = torch.split(self.mean_(values), [*(g.numel() for g in gradients), 1])
        for gradient, found in zip(gradients, means, strict=True):
            gradient.copy_(found.view_as(gradient))
        return float(mean)


def most_processes(batch_size: int, least: int = 32) -> int:
    """One process a GPU, but no more than leave each of them `least` images of a batch; 1 without GPUs."""
    fitting = (n for n in range(1, torch.cuda.device_count() + 1) if batch_size % n == 0 and batch_size // n >= least)
    return max(fitting, default=1)


@contextmanager
def joined(rank: int, size: int, meeting: Path) -> Iterator[Group]:
    """Meet the other processes. Tensors on GPUs go by NCCL, each process on a GPU of its own, others by Gloo.

    Args:
        rank: of this process.
        size: how many there are.
        meeting: a file through which they find each other; there is none yet.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", socket.if_indextoname(1))  # the loopback: nobody else may join
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // size))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        yield Peers(rank, size)
    finally:
        distributed.destroy_process_group()
        torch.set_num_threads(threads)


@contextmanager
def helped(command: Sequence[str], size: int, identity: str) -> Iterator[Group]:
    """Train with `size` processes: this one, of rank 0, and others that are started for it and end with it.

    Args:
        command: starts one of the others; its rank, `size` and a file to meet at are appended. It trains in `helping`.
        size: how many processes; with 1 none is started.
        identity: what is trained; the others must be about to train the same.

    Raises:
        SupernetError: there are fewer GPUs; or one of the others ended, or trains something else: says what it said.
    """
    if size == 1:
        yield ALONE
        return
    if 0 < torch.cuda.device_count() < size:
        raise SupernetError(f"{size} processes need {size} GPUs, and there are {torch.cuda.device_count()}")
    with tempfile.TemporaryDirectory(prefix="archfront-") as folder:
        meeting = Path(folder) / "meeting"
        helpers = [_Helper([*command, str(rank), str(size), str(meeting)], rank) for rank in range(1, size)]
        try:
            for helper in helpers:
                helper.expect(identity)
            with joined(0, size, meeting) as group:
                yield group
            for helper in helpers:
                helper.process.wait()
        except RuntimeError:  # what an all-reduce raises in which one of the processes is missing
            for helper in helpers:
                helper.check()
            raise
        finally:
            for helper in helpers:
                helper.end()


class _Helper:
    """A process that trains along; it ends when its input does, so however this process ends."""

    def __init__(self, command: Sequence[str], rank: int) -> None:
        self.rank = rank
        self.said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `end`
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            start_new_session=True,  # Ctrl-C is for the process that started it
        )

    def expect(self, identity: str) -> None:
        """Wait until it is ready to train what it is to train."""
        assert self.process.stdout is not None
        said = (line.strip() for line in self.process.stdout)  # what the file of a space prints comes first
        found = next((line.removeprefix(READY) for line in said if line.startswith(READY)), None)
        if found is None:
            self.check(seconds=60)
        if found != identity:
            raise SupernetError(
                f"process {self.rank} has {found!r} to train, this one {identity!r}: the study changed meanwhile; "
                "the same command starts again"
            )

    def check(self, seconds: float = 5) -> None:
        """Raise an error if it has ended, or does within some seconds, with what it said last."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        self.said.seek(0)
        lines = self.said.read().strip().splitlines()
        raise SupernetError(
            f"process {self.rank} of those that train the supernet ended with code {code}"
            f"{f', saying: {lines[-1]}' if lines else ''}; the same command goes on from the last checkpoint, "
            "and with processes = 1 without it"
        )

    def end(self) -> None:
        """Stop it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            assert stream is not None
            stream.close()


@contextmanager
def helping(identity: str, rank: int, size: int, meeting: Path) -> Iterator[Group]:
    """What a process that `helped` started trains in."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    print(READY + identity, flush=True)
    with joined(rank, size, meeting) as group:
        yield group


def _end_with_input() -> None:
    """End this process as soon as the one that started it is gone."""
    sys.stdin.read()
    os._exit(1)
