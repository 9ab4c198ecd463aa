"""How the runtime logs: rarely, as events with fields, and without a logging set-up of its own.

If the program has configured structlog, its loggers are used; else the standard library's, which unless configured too prints
warnings and errors to standard error. Neither is imported for it: what nobody has imported nobody has configured.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log(logger: str, level: str, event: str, **fields: Any) -> None:
    """Log one event. Values are numbers or texts that may be shown."""
    structlog = sys.modules.get("structlog")
    # Another thread may be in the middle of importing it: then it has no such function yet.
    is_configured = getattr(structlog, "is_configured", None)
    if structlog is not None and is_configured is not None and is_configured():
        getattr(structlog.get_logger(logger), level)(event, **fields)
        return
    plain = logging.getLogger(logger)
    if not plain.isEnabledFor(LEVELS[level]):
        return
    texts = {name: str(value).rstrip() for name, value in fields.items()}
    short = " ".join(f"{name}={text}" for name, text in texts.items() if "\n" not in text)
    long = [f"\n  {name}:\n    " + text.replace("\n", "\n    ") for name, text in texts.items() if "\n" in text]
    plain.log(LEVELS[level], "%s %s%s", event, short, "".join(long))
