"""Tracebacks as text: as Python writes them, but bounded, and cheap enough for a storm."""

from __future__ import annotations

import traceback
from time import thread_time

import pytest

from wsactors.actors.messages import TRACE_LIMIT, Crash
from wsactors.actors.traces import FIRST, LAST, trace_of


def deep(levels: int) -> None:
    if levels == 0:
        raise ValueError("at the bottom")
    deep(levels - 1)


def caught(levels: int) -> Exception:
    try:
        deep(levels)
    except ValueError as exc:
        return exc
    raise AssertionError


def without_marks(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if set(line.strip()) - set("^~"))


def test_a_plain_exception_reads_as_python_writes_it() -> None:
    exc = caught(1)
    assert without_marks(trace_of(exc)) == without_marks("".join(traceback.format_exception(exc)))


def test_causes_contexts_notes_and_groups_are_all_there() -> None:
    def chained() -> None:
        try:
            deep(0)
        except ValueError as exc:
            raise LookupError("above") from exc

    with pytest.raises(LookupError) as info:
        chained()
    text = trace_of(info.value)
    assert "at the bottom" in text
    assert "direct cause" in text
    assert "LookupError: above" in text

    noted = caught(0)
    noted.add_note("look here")
    assert "look here" in trace_of(noted)
    assert "at the bottom" in trace_of(ExceptionGroup("several", [caught(0)]))


def test_a_deep_stack_shows_both_ends() -> None:
    text = trace_of(caught(500))
    assert text.count("in deep") == FIRST + LAST - 1
    assert "more\n" in text
    assert text.endswith("ValueError: at the bottom\n")


def test_an_exception_that_cannot_be_printed_does_not_stop_it() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert "Mute" in trace_of(Mute())
    assert Crash.of(Mute()).message == "<unprintable: RuntimeError>"


def test_reasons_are_bounded_and_a_cut_never_brings_a_secret_out() -> None:
    for before in range(0, 9_000, 37):
        exc = ValueError("x" * before + " password=hunter2xyz " + "y" * 20_000)
        crash = Crash.of(exc)
        assert "hunter2" not in crash.trace + crash.message
        assert len(crash.trace) <= TRACE_LIMIT + 10


def test_a_hundred_thousand_of_them_take_seconds_not_minutes() -> None:
    exc = caught(8)
    started = thread_time()
    for _ in range(1_000):
        trace_of(exc)
    assert thread_time() - started < 0.2
