"""Logging of a node run by the command line: structlog and the standard library's loggers, one look, secrets redacted.

Only ``wsactors run`` calls :func:`set_up_logging`. An embedded node never does: how a service logs is its own affair.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from wsactors.actors.redact import is_secret, safe_repr
from wsactors.node.secret import REDACTED, redact
from wsactors.node.settings import LoggingSettings
from wsactors.node.terminal import visible

__all__ = ["set_level", "set_up_logging"]

_MAX_VALUE = 4_000
# Chatty below warning, and about single connections of strangers.
_QUIET = {
    "hypercorn.access": logging.WARNING,
    "trio-websocket": logging.WARNING,
    # It warns of each peer that breaks the protocol: a stranger could fill the log.
    "quic": logging.ERROR,
}


def set_up_logging(settings: LoggingSettings, stream: TextIO | None = None) -> None:
    """Send every log record of this process to ``stream`` (standard error), pretty or as JSON, one event per line."""
    stream = sys.stderr if stream is None else stream
    pretty = settings.format == "pretty" or (settings.format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if pretty else "iso", utc=not pretty),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    last = _pretty(stream) if pretty else structlog.processors.JSONRenderer(default=safe_repr)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(capture=True)
    set_level(settings.level)


def set_level(level: str) -> None:
    """Change the least severe level that is written, while the node runs."""
    logging.getLogger().setLevel(level.upper())


def _redacted(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace secrets, and bound every value: a log line is no dump."""
    for key, value in event.items():
        if key.startswith("_"):
            continue  # structlog's own record, which is no part of the line
        event[key] = REDACTED if is_secret(key) else _short(redact(value))
    return event


def _short(value: Any) -> Any:
    return f"{value[:_MAX_VALUE]}..." if isinstance(value, str) and len(value) > _MAX_VALUE else value


def _pretty(stream: TextIO) -> structlog.typing.Processor:
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty())

    def render(logger: Any, name: str, event: MutableMapping[str, Any]) -> Any:
        blocks = []
        for key, value in list(event.items()):
            if isinstance(value, str) and "\n" in value and key != "event":
                # A stack or a traceback: below the line, not in it.
                lines = [visible(line, _MAX_VALUE) for line in event.pop(key).splitlines()]
                blocks.append("\n      ".join((f"\n    {visible(key)}:", *lines)))
            elif isinstance(value, str):
                event[key] = visible(value, _MAX_VALUE)
        return f"{console(logger, name, event)}{''.join(blocks)}"

    return render
