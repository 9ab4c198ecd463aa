"""The front door: one TCP port for the page, health, live audio over WebSocket and plain Ogg Opus over HTTP.

The names below are imported when first used: reading a configuration needs the options, not the servers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsactors.gateway.options import GatewayOptions as GatewayOptions
    from wsactors.gateway.options import GatewayRefused as GatewayRefused
    from wsactors.gateway.options import Limits as Limits
    from wsactors.gateway.options import TlsOptions as TlsOptions
    from wsactors.gateway.server import Address as Address
    from wsactors.gateway.server import Gateway as Gateway

_MODULE_OF = {
    "Address": "server",
    "Gateway": "server",
    "GatewayOptions": "options",
    "GatewayRefused": "options",
    "Limits": "options",
    "TlsOptions": "options",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 - drawn from the table above


def __getattr__(name: str) -> object:
    """Import the module that owns ``name`` and hand out the name (PEP 562)."""
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
