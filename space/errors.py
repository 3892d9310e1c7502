"""Errors for the person who typed the input: what was wrong, where, and what would work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 24
"""Known names that a message lists before it says how many more there are."""


class ArchfrontError(Exception):
    """Base of every error that archfront raises on purpose; the command line prints it without a traceback."""


class SpecError(ArchfrontError, ValueError):
    """A field of a spec was given a value that does not belong there."""


class ShapeError(SpecError):
    """A spec cannot take its input: names the constraint, and the path once a container knows it."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path

    def inside(self, prefix: str) -> ShapeError:
        """The same error seen from a container in which the failing spec stands at `prefix`."""
        return ShapeError(self.message, f"{prefix}.{self.path}" if self.path else prefix)


class SpaceError(ArchfrontError, ValueError):
    """A space is contradictory, empty, or was asked for an architecture that it does not hold."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for a misspelt name, or what is known, the first of it where it is much."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"; known: {', '.join(names[:LISTED]) or 'none'}{more}"
