"""For all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Undo what a shell does to what it starts in the background: SIGINT ignored, also by every program a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
