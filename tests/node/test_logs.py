"""Logs: one event per line, JSON for machines, and no secret in either look."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from wsactors.node.logs import set_level, set_up_logging
from wsactors.node.settings import LoggingSettings


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def logged(look: Literal["auto", "pretty", "json"]) -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(LoggingSettings(format=look), stream)
    return stream


def test_without_a_terminal_every_line_is_json() -> None:
    stream = logged("auto")

    structlog.get_logger("wsactors.test").info("an event", count=3, deep={"a": (1, "b")})
    logging.getLogger("some.library").warning("theirs: %s", "text")

    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["count"], ours["level"], ours["logger"]) == ("an event", 3, "info", "wsactors.test")
    assert (theirs["event"], theirs["level"]) == ("theirs: text", "warning")


@pytest.mark.parametrize("look", ["pretty", "json"])
def test_a_planted_secret_is_in_no_line(look: Literal["pretty", "json"]) -> None:
    stream = logged(look)
    log = structlog.get_logger("wsactors.test")

    log.warning(
        "connect", url="wss://x/socket?token=PLANTED&vsn=2", headers={"Cookie": "sid=PLANTED"}, password="PLANTED"
    )
    logging.getLogger("lib").error("Authorization: Bearer PLANTEDPLANTED")
    try:
        raise ValueError("bad api_key=PLANTED")
    except ValueError:
        log.exception("crashed", state={"user": {"auth_token": "PLANTED"}})

    assert "PLANTED" not in stream.getvalue()
    assert "crashed" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_a_hostile_value_cannot_paint_the_terminal() -> None:
    stream = logged("pretty")

    structlog.get_logger().info("joined", name="\x1b[2Jevil\x07")

    assert "\x1b[2J" not in stream.getvalue()
    assert "\\x1b[2Jevil\\x07" in stream.getvalue()


def test_a_traceback_is_a_block_below_its_line() -> None:
    stream = logged("pretty")

    try:
        raise ValueError("bad \x1b[2J value")
    except ValueError:
        structlog.get_logger().exception("crashed", stack="one\ntwo")

    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert "crashed" in lines[0]
    assert lines[1:4] == ["stack:", "one", "two"]
    assert lines[4] == "exception:"
    assert lines[-1] == "ValueError: bad \\x1b[2J value"


def test_a_line_is_no_dump() -> None:
    stream = logged("json")

    structlog.get_logger().info("big", value="x" * 100_000)

    assert len(stream.getvalue()) < 5_000


def test_the_level_changes_while_running() -> None:
    stream = logged("json")
    log = structlog.get_logger("wsactors.test")

    log.debug("one")
    set_level("debug")
    log.debug("two")
    set_level("error")
    log.warning("three")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["two"]
