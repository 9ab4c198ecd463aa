"""A person reads what went wrong and where, not how it was passed up."""

from __future__ import annotations

import pytest

from wsactors.actors import Crash
from wsactors.node.causes import cause


def passed_up(child: str, why: object) -> object:
    return ("shutdown", ("failed_to_start_child", child, why))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("killed", "killed"),
        (Crash("ValueError", "bad port"), "ValueError: bad port"),
        (Crash("KeyboardInterrupt", ""), "KeyboardInterrupt"),
        (passed_up("gateway", passed_up("endpoint", Crash("OSError", "busy"))), "gateway: endpoint: OSError: busy"),
        (("shutdown", "why"), "why"),
        (("sessions_down", "killed"), "('sessions_down', 'killed')"),
    ],
)
def test_the_cause_is_found(reason: object, text: str) -> None:
    assert cause(reason) == text


def test_a_reason_without_end_ends() -> None:
    reason: object = "x"
    for _ in range(100_000):
        reason = ("shutdown", reason)
    assert len(cause(reason)) < 1_000
