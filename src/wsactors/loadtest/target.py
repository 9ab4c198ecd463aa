"""Whom the load goes to, decided once, before the start: the address that is checked is the one that is connected to."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import attrs

from wsactors.loadtest.scenario import highest_message_rate
from wsactors.loadtest.settings import LoadSettings

__all__ = ["Target", "TargetRefused", "check_answers", "check_caps", "client_tls", "find_target"]


class TargetRefused(Exception):
    """This target is not loaded; the text says why and what would be needed."""


@attrs.frozen
class Target:
    """Where every connection of a run goes."""

    host: str
    """Name for the Host header and for TLS."""
    port: int
    tls: bool
    family: int
    address: tuple[Any, ...]
    """What the name meant when the run was checked."""
    loopback: bool

    @property
    def authority(self) -> str:
        """Host and port, as the Host header says them."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


def find_target(url: str) -> Target:
    """The target that ``url`` names; looks the name up.

    Raises:
        TargetRefused: the name means no address, or the port is none.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "wss"
    try:
        port = parts.port or (443 if tls else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise TargetRefused(f"{url}: no such address ({error})") from error
    family, _, _, _, address = found[0]
    loopback = all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
    return Target(parts.hostname or "", port, tls, int(family), tuple(address), loopback)


def check_caps(target: Target, settings: LoadSettings, *, allow_remote: bool) -> None:
    """Refuse what could hurt somebody else.

    Raises:
        TargetRefused: the target is beyond this machine and either nobody said that this is meant, or a cap is missing; or
            the users would send more messages than the cap allows.
    """
    caps, url = settings.target, settings.target.url
    if not target.loopback:
        if not allow_remote:
            raise TargetRefused(
                f"{url} is {target.address[0]}, not this machine. If it is yours to load, say --allow-remote and set "
                "target.connections_per_second and target.messages_per_second"
            )
        if not caps.connections_per_second or not caps.messages_per_second:
            raise TargetRefused(
                f"{url} is not this machine: set target.connections_per_second and target.messages_per_second above 0"
            )
    wanted = highest_message_rate(settings)
    if caps.messages_per_second and wanted > caps.messages_per_second:
        raise TargetRefused(
            f"the users would send {wanted:g} messages per second, target.messages_per_second allows "
            f"{caps.messages_per_second:g}; lower the chatters' rate or number"
        )


def client_tls(settings: LoadSettings) -> ssl.SSLContext | None:
    """How connections are encrypted; None for ws://.

    Raises:
        TargetRefused: the certificate file cannot be read.
    """
    if not settings.target.url.startswith("wss"):
        return None
    certificate = settings.target.certificate
    try:
        return ssl.create_default_context(cafile=str(certificate) if certificate else None)
    except OSError as error:
        raise TargetRefused(f"target.certificate: {certificate} cannot be used: {error.strerror or error}") from error


def check_answers(target: Target, seconds: float = 5.0) -> None:
    """See whether anybody listens there.

    Raises:
        TargetRefused: nobody does.
    """
    with socket.socket(target.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(seconds)
        try:
            sock.connect(target.address)
        except OSError as error:
            raise TargetRefused(f"nobody answers at {target.authority}: {error.strerror or error}") from error
