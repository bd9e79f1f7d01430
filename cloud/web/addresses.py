"""Whose address a request has when proxies stand in front of the portal."""

import ipaddress
from collections.abc import Iterable, Sequence


def client_address(peer: str, forwarded_for: Iterable[str], proxies: Sequence[str]) -> str:
    """The last address that no configured proxy has, read backwards from the peer.

    What stands before it in X-Forwarded-For was written by that client itself and may be anything. The peer's
    own address where it is no proxy, or where a proxy wrote something that is no address.
    """
    networks = [ipaddress.ip_network(text) for text in proxies]
    named = [part.strip() for line in forwarded_for for part in line.split(",")]
    address = peer
    while named and _is_in(address, networks):
        given = named.pop()
        try:
            address = str(ipaddress.ip_address(given))
        except ValueError:
            return peer
    return address


def is_proxy(peer: str, proxies: Sequence[str]) -> bool:
    """Whether this peer is one of the configured proxies."""
    return _is_in(peer, [ipaddress.ip_network(text) for text in proxies])


def _is_in(text: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in networks)
