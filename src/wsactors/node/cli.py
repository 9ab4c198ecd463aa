"""The command line: ``wsactors run``, ``tree``, ``top``, ``new``, ``config``, ``listen``, ``speak`` and ``load``.

:func:`main` is what the installed command calls. Everything heavy (the runtime, audio, TLS) is imported by the
command that needs it, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from enum import IntEnum
from pathlib import Path

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
    THRESHOLD_BROKEN = 6
    """A load run broke one of its thresholds."""
    HARNESS_LIMIT = 7
    """A load run says nothing about the server: the harness was the limit."""
    INTERRUPTED = 130
    """A node was interrupted twice and stopped at once, in no order; or a load run was interrupted."""


EXIT_CODES = (
    "Exit codes: 0 fine · 1 a fault in wsactors · 2 wrong arguments, configuration or supervisor file · "
    "3 the node failed (its root supervisor gave up) · 4 the node could not start · 5 no running node answered · "
    "6 a load run broke a threshold · 7 the load harness was the limit · 130 interrupted (a node: twice)."
)


_LOAD = "wsactors.loadtest.command"
"""Where the command of the package above this one is: named, because nothing here may import upwards."""


def main() -> None:
    """Run the command line and exit with one of :class:`ExitCode`."""
    # Supervisor files name modules: none is ever taken from wherever the command happens to be started.
    wanted = set(os.environ.get("PYTHONPATH", "").split(os.pathsep)) - {""}
    sys.path[:] = [path for path in sys.path if path in wanted or path not in {"", str(Path.cwd())}]
    try:
        from wsactors.node.client_commands import listen
        from wsactors.node.commands import app
        from wsactors.node.speak_command import speak

        app.command("listen", epilog=EXIT_CODES)(listen)
        app.command("speak", epilog=EXIT_CODES)(speak)
        app.command("load", epilog=EXIT_CODES)(importlib.import_module(_LOAD).load)
    except ImportError as error:
        missing = error.name or str(error)
        print(f"The command line needs {missing!r}: pip install 'wsactors[cli]'", file=sys.stderr)  # noqa: T201
        sys.exit(ExitCode.USAGE)
    app(prog_name="wsactors")
