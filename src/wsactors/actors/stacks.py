"""Where code is: the stack of a blocked handler or task, and of the one that runs, without what the runtime puts around it."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from wsactors.actors.process import Process

_HERE: Final = str(Path(__file__).parent)
_AROUND: Final = frozenset(
    f"{_HERE}/{name}.py"
    for name in ("calls", "drive", "process_actor", "runtime", "spawn", "tasks", "worker", "state_machine")
)
"""Files of the runtime that stand between trio and an actor's own code."""
FRAMES: Final = 40


def stack_of(process: Process) -> tuple[str, ...]:
    """Where its blocked handler and its tasks wait, as ``file:line in function``, outermost first."""
    lines: list[str] = []
    for task, owner in list(process.sched.owners.items()):
        if owner is process and task.coro is not None:
            lines += inner(where(frame.f_code, line) for frame, line in awaited(task.coro))
    extras = process.extras
    if not lines and extras is not None and extras.coroutine is not None:
        lines += inner(where(frame.f_code, line) for frame, line in awaited(extras.coroutine))
    return tuple(lines[-FRAMES:])


def awaited(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """The frames of a suspended coroutine and of what it awaits, outermost first."""
    for _ in range(1_000):
        frame = _first_of(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        yield frame, line_of(frame)
        coroutine = _driven(frame) or _first_of(coroutine, "cr_await", "gi_yieldfrom", "ag_await")
        if coroutine is None:
            return


def _first_of(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)


def _driven(frame: FrameType) -> Any:
    """The coroutine that a generator of the runtime drives by hand, which therefore is not in the chain of awaits."""
    if frame.f_code.co_filename not in _AROUND or frame.f_code.co_name not in ("_shell", "forward", "guarded"):
        return None
    values = frame.f_locals
    return values.get("body") or values.get("coroutine")


def running(frame: FrameType | None) -> list[FrameType]:
    """The frames of code that runs, outermost first."""
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return frames


def where(code: Any, line: int) -> tuple[str, str]:
    """File of a frame, and its line of a report."""
    return code.co_filename, f"{code.co_filename}:{line} in {code.co_name}"


def inner(lines: Any) -> list[str]:
    """Report lines without the runtime's own at the top, and without trio's kernel."""
    kept: list[str] = []
    for file, text in lines:
        if file in _AROUND:
            kept.clear()
        elif "/trio/_core/" not in file:
            kept.append(text)
    return kept


def own(frames: list[FrameType]) -> list[FrameType]:
    """The frames of an actor's own code: those after the last of the runtime's; of anybody else's, those after trio's loop."""
    first = 0
    for index, frame in enumerate(frames):
        if frame.f_code.co_filename in _AROUND or frame.f_code.co_name == "unrolled_run":
            first = index + 1
    return frames[first:]


def line_of(frame: FrameType) -> int:
    """The number of the line a frame stands at; 0 between two lines: a thread that is looked at from another may be there."""
    line: int | None = frame.f_lineno
    return line or 0


def source(frame: FrameType) -> str:
    """The line of source a frame stands at."""
    return linecache.getline(frame.f_code.co_filename, line_of(frame)).strip()
