from __future__ import annotations

import io

import pytest

from archfront.console import Bars, Lines, clock_time, make_reporter
from archfront.search.progress import Silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_gets_bars_a_pipe_lines_and_quiet_nothing() -> None:
    assert isinstance(make_reporter(stream=Terminal()), Bars)
    assert isinstance(make_reporter(stream=io.StringIO()), Lines)
    assert isinstance(make_reporter(quiet=True, stream=Terminal()), Silent)


def test_work_that_is_over_in_a_moment_says_nothing_in_a_log() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).track("Loading", 100) as advance:
        for done in range(1, 101):
            clock.now += 0.01
            advance(done, "")
    assert stream.getvalue() == ""


def test_a_log_gets_a_line_now_and_then_with_the_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).track("Training", 100) as advance:
        for done in range(1, 101):
            clock.now += 0.5
            advance(done, f"loss {done}")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Training: 4/100, 0:48 left, loss 4"
    assert lines[-1] == "Training: done in 0:50"
    assert len(lines) == 2 + 3  # 2 s, then every 15 s of 50 s, then the end


def test_steps_of_an_earlier_run_do_not_count_as_fast() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).track("Searching", 100) as advance:
        advance(50, "")
        clock.now = 10.0
        advance(59, "")
    assert stream.getvalue().startswith("Searching: 59/100, 0:46 left")  # 41 steps at 9 in 10 s


def test_a_total_may_turn_out_later_and_no_time_is_guessed_without_one() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).track("Measuring", 1) as advance:
        advance(1, "")
        clock.now = 10.0
        advance(10, "", 20)
        clock.now = 30.0
        advance(15, "timing")
    assert stream.getvalue().splitlines() == [
        "Measuring: 10/20, 0:11 left", "Measuring: 15, timing", "Measuring: done in 0:30",
    ]  # fmt: skip


def test_work_that_is_told_of_in_chunks_is_not_taken_for_a_chunk_a_step() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock).track("Loading images", 1) as advance:
        for chunk in range(1, 11):
            clock.now += 10.0
            advance(1024 * chunk, "", 10_240)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Loading images: 1,024/10,240"  # nothing to tell the speed by yet
    assert lines[1] == "Loading images: 3,072/10,240, 1:10 left"


def test_a_log_holds_no_control_characters() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock)
    lines.note("one")
    with lines.track("Work", 10) as advance:
        clock.now = 5.0
        advance(5, "half")
    assert not [c for c in stream.getvalue() if ord(c) < 32 and c != "\n"]


def test_bars_show_steps_detail_and_notes_and_take_markup_literally() -> None:
    stream = Terminal()
    bars = Bars(stream)
    bars.console.width = 160
    with bars.track("Training [all]", 10) as advance:
        advance(5, "loss [bold]0.3")
        bars.note("Space [3x32x32]: 12 architectures")
        with bars.track("Inner", 1) as inner:
            inner(7, "of 9")
        advance(10, "loss [bold]0.2")
    shown = stream.getvalue()
    assert "10/10" in shown
    assert "loss [bold]0.2" in shown
    assert "Training [all]" in shown
    assert "Space [3x32x32]: 12 architectures" in shown
    assert bars._progress is None


def test_bars_are_taken_down_when_work_fails() -> None:
    bars = Bars(Terminal())
    with pytest.raises(ValueError, match="no"), bars.track("Work", 3) as advance:
        advance(1, "")
        raise ValueError("no")
    assert bars._progress is None
    with bars.track("Again", 1):
        assert bars._progress is not None


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (42, "0:42"), (61, "1:01"), (3723, "1:02:03")])
def test_clock_time(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text
