"""How the runtime logs: rarely, as events with fields, and without a logging set-up of its own.

If the program has configured structlog, its loggers are used; else the standard library's, which unless configured too prints
warnings and errors to standard error. Neither is imported for it: what nobody has imported nobody has configured.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def is_wanted(logger: str, level: str) -> bool:
    """Whether `log` would write that: to find out costs less than to make the texts of an event that nobody reads."""
    config = _structlog_config()
    # Loggers of structlog's own, without the standard library's below them, filter by themselves.
    if config is not None and type(config["logger_factory"]).__module__ != "structlog.stdlib":
        return True
    return logging.getLogger(logger).isEnabledFor(LEVELS[level])


def log(logger: str, level: str, event: str, **fields: Any) -> None:
    """Log one event. Values are numbers or texts that may be shown."""
    if not is_wanted(logger, level):
        return
    if _structlog_config() is not None:
        getattr(sys.modules["structlog"].get_logger(logger), level)(event, **fields)
        return
    texts = {name: str(value).rstrip() for name, value in fields.items()}
    short = " ".join(f"{name}={text}" for name, text in texts.items() if "\n" not in text)
    long = [f"\n  {name}:\n    " + text.replace("\n", "\n    ") for name, text in texts.items() if "\n" in text]
    logging.getLogger(logger).log(LEVELS[level], "%s %s%s", event, short, "".join(long))


def _structlog_config() -> dict[str, Any] | None:
    """How structlog is configured; None: it is not."""
    structlog = sys.modules.get("structlog")
    # Another thread may be in the middle of importing it: then it has no such function yet.
    is_configured = getattr(structlog, "is_configured", None)
    if structlog is None or is_configured is None or not is_configured():
        return None
    config: dict[str, Any] = structlog.get_config()
    return config
