"""What supervisors log: one event per thing that went wrong, under names that stay.

==================================  ========  =====================================================================
event                               level     fields besides ``supervisor``
==================================  ========  =====================================================================
``supervisor.child_started``        debug     ``child``, ``pid``
``supervisor.child_terminated``     error     ``child``, ``pid``, ``reason``, ``restart``: it ended by itself, and not well
``supervisor.child_start_failed``   error     ``child``, ``reason``: its ``init`` failed
``supervisor.child_name_taken``     debug     ``child``, ``reason``: who asked for it is told that another has its name
``supervisor.child_stop_failed``    error     ``child``, ``pid``, ``reason``, ``shutdown``: it did not stop as it was asked to
``supervisor.gave_up``              error     ``child``, ``intensity``, ``period``: too many restarts, the supervisor stops
``supervisor.unexpected_message``   warning   ``message``: its type; a supervisor expects none
==================================  ========  =====================================================================

Neither arguments nor states of children are logged: they may hold secrets. They go through structlog where the
program has configured it, else through :mod:`logging`, which by default shows warnings and worse on standard error; nothing
here configures either, and an embedded node never writes to its host's standard output.
"""

from __future__ import annotations

from typing import Any, Final

from wsactors.actors import Pid
from wsactors.actors.log import is_wanted, log
from wsactors.actors.redact import safe_text

__all__ = [
    "CHILD_NAME_TAKEN",
    "CHILD_STARTED",
    "CHILD_START_FAILED",
    "CHILD_STOP_FAILED",
    "CHILD_TERMINATED",
    "GAVE_UP",
    "UNEXPECTED_MESSAGE",
    "report",
]

CHILD_STARTED: Final = "supervisor.child_started"
CHILD_TERMINATED: Final = "supervisor.child_terminated"
CHILD_START_FAILED: Final = "supervisor.child_start_failed"
CHILD_NAME_TAKEN: Final = "supervisor.child_name_taken"
CHILD_STOP_FAILED: Final = "supervisor.child_stop_failed"
GAVE_UP: Final = "supervisor.gave_up"
UNEXPECTED_MESSAGE: Final = "supervisor.unexpected_message"

LOGGER: Final = "wsactors.supervision"
"""The logger's name, with structlog and without."""

_LEVELS: Final = {CHILD_STARTED: "debug", CHILD_NAME_TAKEN: "debug", UNEXPECTED_MESSAGE: "warning"}
_MAX_TEXT: Final = 500


def report(event: str, **fields: Any) -> None:
    """Log one event; values become short text."""
    level = _LEVELS.get(event, "error")
    if is_wanted(LOGGER, level):
        log(LOGGER, level, event, **{name: _text(value) for name, value in fields.items()})


def _text(value: Any) -> Any:
    match value:
        case int() | float():
            return value
        case Pid():
            return repr(value)
        case _:
            # A reason may quote what it was about.
            return safe_text(str(value)[:_MAX_TEXT])
