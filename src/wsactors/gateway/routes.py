"""The HTTP routes of a port, gathered from the parts of the gateway that have some.

A part with routes of its own has a function ``routes_of(port)`` and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from . import site

if TYPE_CHECKING:
    from .port import Port


def routes_of(port: Port) -> Sequence[BaseRoute]:
    """Every route of ``port``; of two that match, the first serves."""
    return [
        *site.routes_of(port),
    ]
