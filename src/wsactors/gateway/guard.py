"""Who may talk to this port: the Host and Origin checks. Pure.

A page of another site can make a browser send requests here: to our address (cross-site WebSocket, which no CORS rule
stops), or to a name of its own that it lets point to our address (DNS rebinding, which makes it same-origin). The first
shows in Origin, the second in Host. Programs other than browsers send no Origin; they are not what this guards against.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import attrs

from .cors import Cors
from .options import GatewayOptions, is_loopback

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.\-_]{1,253})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")
_DEFAULT_PORT = {"http": 80, "https": 443}


@attrs.frozen
class Refusal:
    """Why a request is turned away."""

    status: int
    message: str
    """Says what to do, for a person; nothing about the inside."""


@attrs.frozen
class Guard:
    """The check itself, for one port."""

    hosts: frozenset[str]
    """Names in lower case, without port."""
    any_address: bool
    """Whether every numeric address is accepted: rebinding needs a name, so an address cannot be a rebound one."""
    cors: Cors
    secure: bool

    @classmethod
    def of(cls, options: GatewayOptions, extra_hosts: Iterable[str] = ()) -> Guard:
        """The guard of a port with ``options``; ``extra_hosts`` are further names of this machine."""
        names = {name.lower() for name in (options.host.strip("[]"), *options.allowed_hosts, *extra_hosts)}
        if options.is_loopback:
            names |= {"localhost", "127.0.0.1", "::1"}
        return cls(frozenset(names), not options.is_loopback, Cors.of(options.allowed_origins), options.uses_tls)

    def check(self, host: bytes | None, origin: bytes | None, *, secure: bool | None = None) -> Refusal | None:
        """None when a request with these headers may pass. ``secure``: whether it came by https; default: as the port is."""
        authority = _authority(host)
        if authority is None or not self._knows(authority[0]):
            return Refusal(
                421, "This node does not answer to that Host name. Use the address it printed, or add the name to "
                "gateway.allowed_hosts."
            )  # fmt: skip
        if origin is None or self._allows(origin, authority, self.secure if secure is None else secure):
            return None
        return Refusal(
            403, "Pages of other sites may not connect here. Open the page of this node itself, or add that site to "
            "gateway.allowed_origins."
        )  # fmt: skip

    def check_beside(self, host: bytes | None, origin: bytes | None, *, port: int, secure: bool) -> Refusal | None:
        """As `check`, on another port: a page may pass that this machine serves on ``port``, by https if ``secure``.

        A page of a loopback address may name any of these.
        """
        authority = _authority(host)
        names = [] if authority is None else [authority[0]]
        if names and is_loopback(names[0]):
            names += [name for name in ("localhost", "127.0.0.1", "::1") if name != names[0]]
        refusal = self.check(host, None)
        for name in names if refusal is None else ():
            text = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            refusal = self.check(text.encode(), origin, secure=secure)
            if refusal is None:
                return None
        return refusal

    def _knows(self, name: str) -> bool:
        if name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address or (address.is_loopback and any(is_loopback(known) for known in self.hosts))

    def _allows(self, origin: bytes, authority: tuple[str, int | None], secure: bool) -> bool:
        text = origin.decode("latin-1").lower()
        if self.cors.allows(text):
            return True
        match = _ORIGIN.fullmatch(text)
        if match is None:  # "null", several origins, another scheme
            return False
        scheme = match[1]
        theirs = _authority(match[2].encode("latin-1"))
        if theirs is None or scheme != ("https" if secure else "http"):
            return False
        default = _DEFAULT_PORT[scheme]
        return (theirs[0], theirs[1] or default) == (authority[0], authority[1] or default)


def _authority(value: bytes | None) -> tuple[str, int | None] | None:
    """Name (lower case, no brackets) and port of a Host header or an origin's authority."""
    match = _HOST.fullmatch((value or b"").decode("latin-1"))
    if match is None:
        return None
    return match[1].strip("[]").lower(), int(match[2]) if match[2] else None
