"""Whom an address is counted as, where one client could have many of them or many clients one. Pure."""

from __future__ import annotations

import ipaddress
import sys

__all__ = ["block_of", "counted_address"]


def block_of(address: str) -> str:
    """Whom ``address`` is counted as: of IPv6, where one client has addresses without end, its /64.

    >>> block_of("192.0.2.7"), block_of("2001:db8::1") == block_of("2001:db8::2")
    ('192.0.2.7', True)
    """
    return _block(address) or address


def counted_address(address: str) -> str:
    """As `block_of`, but empty for what is no address, such as that of a UNIX socket: nobody knows how many are behind it.

    >>> counted_address("2001:db8::1"), counted_address("unix")
    ('2001:db8::/64', '')
    """
    return sys.intern(_block(address))  # kept by every channel that comes from there


def _block(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
