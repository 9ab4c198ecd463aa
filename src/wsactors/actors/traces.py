"""Tracebacks as text, for exit reasons: what ``traceback`` writes, many times as fast where that is possible.

A storm of crashes formats one for each, in the loop. Most of ``traceback``'s time goes into looking whether source files have
changed and into underlining parts of lines; this does neither for a plain exception.
"""

from __future__ import annotations

import linecache
import traceback
from types import TracebackType
from typing import Final

FIRST: Final = 8
LAST: Final = 24
"""Frames shown of a deep stack: so many from either end."""


def trace_of(exc: BaseException) -> str:
    """The traceback of an exception, with its causes, as text. Never raises."""
    plain = (
        exc.__cause__ is None
        and (exc.__context__ is None or exc.__suppress_context__)
        and not isinstance(exc, BaseExceptionGroup | SyntaxError)
        and not getattr(exc, "__notes__", None)
    )
    if not plain:
        return "".join(traceback.format_exception(exc, limit=-(FIRST + LAST)))
    lines = ["Traceback (most recent call last):\n"]
    frames = _frames(exc.__traceback__)
    if len(frames) > FIRST + LAST:
        lines += map(_line, frames[:FIRST])
        lines.append(f"  ... {len(frames) - FIRST - LAST} more\n")
        frames = frames[-LAST:]
    lines += map(_line, frames)
    lines += traceback.format_exception_only(exc)
    return "".join(lines)


def _frames(trace: TracebackType | None) -> list[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _line(trace: TracebackType) -> str:
    frame = trace.tb_frame
    code = frame.f_code
    source = linecache.getline(code.co_filename, trace.tb_lineno, frame.f_globals).strip()
    where = f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}\n'
    return f"{where}    {source}\n" if source else where
