"""What supervisors log reaches structlog where the program uses it, else logging, and never standard output unasked."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import structlog

from wsactors.supervision import reports


def test_without_structlog_in_use_reports_go_to_logging(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structlog, "is_configured", lambda: False)
    with caplog.at_level(logging.DEBUG, reports.LOGGER):
        reports.report(reports.CHILD_TERMINATED, supervisor="<n.1>", child="a", reason="boom")
        reports.report(reports.CHILD_STARTED, child="a")

    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("ERROR", "supervisor.child_terminated supervisor=<n.1> child=a reason=boom"),
        ("DEBUG", "supervisor.child_started child=a"),
    ]


def test_what_is_reported_is_short_text() -> None:
    with structlog.testing.capture_logs() as entries:
        reports.report(reports.GAVE_UP, child=("a", "x" * 10_000), intensity=3, period=5.0)

    assert entries[0]["event"] == "supervisor.gave_up"
    assert (entries[0]["log_level"], entries[0]["intensity"], entries[0]["period"]) == ("error", 3, 5.0)
    assert isinstance(entries[0]["child"], str)
    assert len(entries[0]["child"]) == 500


def test_a_program_that_uses_no_structlog_does_not_import_it_and_keeps_its_standard_output() -> None:
    program = (
        "import sys\nfrom wsactors.supervision import reports\n"
        "reports.report(reports.GAVE_UP, child='a')\nreports.report(reports.CHILD_STARTED, child='a')\n"
        "assert 'structlog' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == ""
    assert done.stderr == "supervisor.gave_up child=a\n"


def test_secrets_in_a_reason_are_not_logged() -> None:
    with structlog.testing.capture_logs() as entries:
        reports.report(reports.CHILD_TERMINATED, child="a", reason=("denied", "token=hunter2-hunter2"))

    assert "hunter2" not in str(entries)
    assert "denied" in str(entries)
