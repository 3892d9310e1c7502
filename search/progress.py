"""How long work tells how far it is; the command line shows it, a script may ignore it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Note = Callable[[str], None]
"""Told one line worth keeping."""


class Advance(Protocol):
    """Told how many steps are done, shortly how it stands, and how many there are where that turns out only later."""

    def __call__(self, done: int, detail: str, total: int | None = None) -> None: ...


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
        yield lambda done, detail, total=None: None
