"""Which addresses of the internet somebody else may let us call.

A webhook's address is typed by a person, and our network may reach what that person must not: this machine
itself, its neighbours, the metadata service of a hosting company. Only addresses that are public are called,
unless the operator allows the others.
"""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TRANSLATED: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052): an IPv4 address in disguise
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # RFC 8215
    ipaddress.IPv6Network("2002::/16"),  # 6to4 (RFC 3056)
    ipaddress.IPv6Network("2001::/32"),  # Teredo (RFC 4380)
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible (RFC 4291)
)


def is_public(text: str) -> bool:
    """Whether this is the address of one host of the public internet. False for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if any(address in network for network in TRANSLATED):
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    )
