"""Child processes for tests that kill: they share what the parent has imported, so starting one takes no time."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Do something in a child process, which ends with status 0 if that went well; its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child: int, seconds: float) -> int | None:
    """The exit status of a child that ended within some time, else None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def killed(child: int) -> None:
    """Kill a child as nothing can be prepared for."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def wait_until(happened: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
