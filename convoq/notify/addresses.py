"""Which addresses are this machine's or a private network's, where a webhook must not lead unless that is meant."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Addresses that carry another one: what is behind NAT64 is reached by it.
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(OSError):
    """A connection that would have led to a private address."""


def is_public(address: str) -> bool:
    """Whether every host of the internet reaches the same one under it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in (found, *_carried(found)))


def _carried(address: _Address) -> list[_Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    carried: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in carried if one is not None]


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """Of one result of getaddrinfo, the one that is connected to: a name that resolves anew can't get around it.

    Raises PrivateAddress.
    """
    family, kind, protocol, _, (address, *_) = info
    if not is_public(str(address)):
        raise PrivateAddress(f"{address} is no public address: notify.allow_private lets url lead there")
    return socket.socket(family, kind, protocol)
