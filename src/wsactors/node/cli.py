"""The command line: ``wsactors run``, ``tree``, ``top``, ``new`` and ``config``.

:func:`main` is what the installed command calls. Everything heavy (the runtime, audio, TLS) is imported by the
command that needs it, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import sys
from enum import IntEnum

__all__ = ["ExitCode", "main"]


class ExitCode(IntEnum):
    """What the command's exit status says."""

    OK = 0
    FAULT = 1
    """A fault in wsactors itself; the traceback says where."""
    USAGE = 2
    """Wrong arguments, configuration or supervisor file; nothing was started."""
    NODE_FAILED = 3
    """The root supervisor gave up: something kept crashing."""
    NOT_STARTED = 4
    """The node could not start: an actor's init failed, no port was free."""
    NO_NODE = 5
    """No running node answered (`wsactors top`)."""
    INTERRUPTED = 130
    """Interrupted twice: stopped at once, in no order."""


EXIT_CODES = (
    "Exit codes: 0 fine · 1 a fault in wsactors · 2 wrong arguments, configuration or supervisor file · "
    "3 the node failed (its root supervisor gave up) · 4 the node could not start · 5 no running node answered · "
    "130 interrupted twice."
)


def main() -> None:
    """Run the command line and exit with one of :class:`ExitCode`."""
    try:
        from wsactors.node.commands import app
    except ImportError as error:
        missing = error.name or str(error)
        print(f"The command line needs {missing!r}: pip install 'wsactors[cli]'", file=sys.stderr)  # noqa: T201
        sys.exit(ExitCode.USAGE)
    app(prog_name="wsactors")
