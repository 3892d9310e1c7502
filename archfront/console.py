"""Progress on standard error: bars with the time left on a terminal, a line now and then in a log, nothing if asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from archfront.search.progress import Advance, Reporter

PATIENCE = 2.0
"""Seconds after which work in a log says for the first time how far it is."""

EVERY = 15.0
"""Seconds between further lines about the same work."""


def make_reporter(quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """What suits `stream`, by default standard error."""
    from archfront.search.progress import Silent

    stream = stream or sys.stderr
    if quiet:
        return Silent()
    return Bars(stream) if stream.isatty() else Lines(stream)


class Bars:
    """Bars on a terminal; those of nested work stand below each other."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self.console = Console(file=stream)
        self._progress: Progress | None = None
        self._running = 0

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Advance]:
        """A bar; it stays, with the time it took, when the work ends."""
        from rich.markup import escape

        progress = self._enter()
        task = progress.add_task(escape(title), total=total, detail="", steps="")

        def advance(done: int, detail: str, total: int | None = total) -> None:
            known = total if total is not None and done <= total else None  # without it the bar only shows life
            steps = f"{done:,}" if known is None else f"{done:,}/{known:,}"
            progress.update(task, completed=done, total=known, detail=escape(detail), steps=steps)

        try:
            yield advance
            done = max(1.0, progress.tasks[task].completed)
            progress.update(task, completed=done, total=done)
        finally:
            self._leave()

    def _enter(self) -> Progress:
        if self._progress is None:
            self._progress = _bars(self.console)
            self._progress.start()
        self._running += 1
        return self._progress

    def _leave(self) -> None:
        self._running -= 1
        if self._running == 0 and self._progress is not None:
            self._progress.stop()
            self._progress = None


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[steps]:>9}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}"),
        console=console,
        refresh_per_second=4,
    )


class Lines:
    """Plain lines for logs and pipes: no control characters, and nothing about work that is over in a moment.

    Args:
        stream: where they go.
        clock: seconds that went by; tests put their own here.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock

    def note(self, text: str) -> None:
        """One line."""
        print(text, file=self.stream, flush=True)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Advance]:
        """A line after `PATIENCE` seconds, one more every `EVERY`, and one at the end if there was any."""
        start = self.clock()
        due = start + PATIENCE
        first: tuple[int, float] | None = None  # what was done when it was first told says nothing about the speed

        def advance(done: int, detail: str, total: int | None = total) -> None:
            nonlocal due, first
            now = self.clock()
            first = first or (done, now)
            if now < due or done == total:
                return
            due = now + EVERY
            known = total if total is not None and 0 < done <= total else None
            steps = f"{done:,}" if known is None else f"{done:,}/{known:,}"
            left = ""
            if known is not None and done > first[0]:
                left = f", {clock_time((known - done) * (now - first[1]) / (done - first[0]))} left"
            self.note(f"{title}: {steps}{left}{f', {detail}' if detail else ''}")

        yield advance
        if self.clock() - start > PATIENCE:
            self.note(f"{title}: done in {clock_time(self.clock() - start)}")


def clock_time(seconds: float) -> str:
    """Hours, minutes and seconds: "0:42", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
