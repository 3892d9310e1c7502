"""How long work tells how far it is; the command line shows it, a script may ignore it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int, str], None]
"""Told how much is done and, shortly, how it stands."""


class Reporter(Protocol):
    """Where progress goes."""

    def note(self, text: str) -> None:
        """One line worth keeping."""
        ...

    def track(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Work of `total` steps; yields what to call as it advances."""
        ...


class Silent:
    """Tells nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Advance]:
        """Nothing."""
        yield lambda done, detail: None
