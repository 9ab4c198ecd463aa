"""Who a client really is when proxies stand in front, and which proxies are believed. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

import attrs

UNIX: Final = "unix"
"""The address of a peer on a UNIX socket."""
MAX_HOPS: Final = 32
"""Of X-Forwarded-For: how many addresses are looked at."""
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class Client:
    """The client of a request, as far as it can be known."""

    address: str
    secure: bool
    """Whether it came by TLS, here or at the proxy."""


@attrs.frozen
class Proxies:
    """The proxies of one port."""

    networks: tuple[_Network, ...] = ()
    unix: bool = False

    @classmethod
    def of(cls, trusted: Iterable[str]) -> Proxies:
        """The proxies that the configuration names. Raises `ValueError` for what is neither address nor network."""
        names = list(trusted)
        return cls(
            tuple(ipaddress.ip_network(name, strict=False) for name in names if name != UNIX),
            UNIX in names,
        )

    def trusts(self, address: str) -> bool:
        """Whether the peer at ``address`` is a proxy whose word counts."""
        if address == UNIX:
            return self.unix
        if not self.networks:
            return False
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.networks)

    def client(
        self, peer: str, *, secure: bool, forwarded_for: bytes | None = None, forwarded_proto: bytes | None = None
    ) -> Client:
        """Who asks: the peer itself, or whom a trusted peer says it asks for.

        X-Forwarded-For is read from its end, where the nearest proxy wrote: the first address that is no proxy of ours is
        the client, and what stands before it may be the client's own invention.
        """
        if not self.trusts(peer):
            return Client(peer, secure)
        address = peer
        for entry in reversed((forwarded_for or b"").split(b",")[-MAX_HOPS:]):
            found = _address(entry.strip().decode("latin-1"))
            if found is None:
                break
            address = found
            if not self.trusts(found):
                break
        proto = (forwarded_proto or b"").rpartition(b",")[2].strip().lower()
        return Client(address, proto == b"https" if proto in {b"http", b"https"} else secure)


def _address(text: str) -> str | None:
    """The address in an entry of X-Forwarded-For, where some write a port behind it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
