"""The routes of a port, HTTP's and WebSockets', gathered from the parts of the gateway that have some.

A part with HTTP routes of its own has a function ``routes_of(port)`` and a line here; one that talks on WebSockets, a
`Conversation` and a line for each of its paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from wsactors.supervision import ChildSpec

from . import engines, longpoll, native, phoenix_sockets, site, sse, supabase_rest, topics_rest, webtransport_pages
from .conversation import Conversation, echo

if TYPE_CHECKING:
    from .port import Port


def routes_of(port: Port) -> Sequence[BaseRoute]:
    """Every route of ``port``; of two that match, the first serves."""
    return [
        *site.routes_of(port),
        *webtransport_pages.routes_of(port),
        *sse.routes_of(port),
        *topics_rest.routes_of(port),
        *longpoll.routes_of(port),
        *supabase_rest.routes_of(port),
        *engines.routes_of(port),
    ]


def services_of(port: Port) -> Sequence[ChildSpec]:
    """What parts of the gateway run beside its connections."""
    return [longpoll.LongPoll.of(port).child(), *engines.services_of(port)]


def conversations_of(port: Port) -> Mapping[str, Conversation]:
    """What is spoken on the WebSockets of ``port``, by path."""
    return {
        native.PATH: native.serve_native,
        phoenix_sockets.PHOENIX_PATH: phoenix_sockets.serve_phoenix,
        phoenix_sockets.SUPABASE_PATH: phoenix_sockets.serve_supabase,
        **({"/echo": echo} if port.options.serves_strangers else {}),
        **engines.conversations_of(port),
    }
