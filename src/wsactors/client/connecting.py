"""The Trio client of the native protocol: connect, hear sessions, talk on topics, come back when the connection breaks.

Example:
    >>> async with connect("ws://127.0.0.1:8080/ws", retry=Retry()) as client:      # doctest: +SKIP
    ...     listening = await client.join("main")
    ...     async for frame in listening:
    ...         recorder.add(frame)
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from .backoff import Retry
from .carrier import Trust
from .connection import Client
from .core import Core, Rhythm
from .link import Link, Servers, Token

CONNECT_SECONDS: Final = 10.0
_USUAL: Final = Rhythm()


@asynccontextmanager
async def connect(
    servers: Servers,
    *,
    name: str = "wsactors-client",
    token: Token = "",
    api_key: str = "",
    retry: Retry | None = None,
    rhythm: Rhythm = _USUAL,
    ssl_context: ssl.SSLContext | None = None,
    ca_file: str | None = None,
    certificate_sha256: str | bytes = b"",
    timeout: float = CONNECT_SECONDS,
) -> AsyncIterator[Client]:
    """Connect to ``ws://…/ws``, ``wss://…/ws`` or ``quic://HOST:PORT`` and greet; disconnect at the end of the block.

    By QUIC, audio comes and goes as datagrams, each of which may be lost and none of which waits for another.

    Args:
        servers: An address; several, tried one after the other; or a function that gives the one to try next.
        name: For the node's logs.
        token: Who the client is: a token, or a function that gives the one of the moment.
        api_key: Likewise.
        retry: How to come back when the connection breaks. None: not at all; what waits then raises `Disconnected`.
        rhythm: Signs of life.
        ssl_context: For ``wss`` addresses.
        ca_file: For ``quic`` addresses: PEM file of the authorities that may have signed the node's certificate.
        certificate_sha256: For ``quic`` addresses: the SHA-256 digest (bytes, or hexadecimal) of the one certificate that
            is accepted, whoever signed it, as ``/webtransport.json`` says it.
        timeout: Seconds in which a connection must be made.

    Raises:
        Disconnected: Nobody answers there, or what answers is no node of this protocol; with ``retry``, after as many
            attempts as that allows (``code`` is then ``connection_failed``).
        ClientError: The node speaks no common version, or does not let this client in.
    """
    core = Core(name=name, retry=retry, rhythm=rhythm, can_renew=callable(token), random=random.random)
    digest = bytes.fromhex(certificate_sha256) if isinstance(certificate_sha256, str) else certificate_sha256
    trust = Trust(ssl_context, ca_file, digest)
    link = Link(core, servers, token=token, api_key=api_key, trust=trust, timeout=timeout)
    client = Client(link)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        if callable(token):
            nursery.start_soon(client.renew_tokens)
        try:
            await link.settled.wait()
            if link.failure is not None:
                raise link.first_failure()
            yield client
        except Exception as error:
            failure = error  # raised again below, outside the nursery, so that it does not come in a group
        await link.close()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
