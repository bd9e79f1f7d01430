"""`smartconnect-agent doctor`: looks at each hop from the UPS to the cloud, and says what to do if one fails.

Nothing is asked of anybody but what a connecting agent asks: a name, a TCP connection, a TLS handshake. What
is said of the UPSs is what `status` knows.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.proxy import STRAIGHT
from agent.uplink import tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.proxy import Way
    from protocol.messages import Installation

TIMEOUT_S: Final = 5.0
DATES: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED of openssl/x509_vfy.h
ANSWERS: Final = "answers"
CONNECTED: Final = "connected"


@dataclass(frozen=True, slots=True)
class Finding:
    """One hop: whether it is fine, and what was seen or is to be done."""

    hop: str
    fine: bool
    text: str


def examine_cloud(installation: Installation, way: Way = STRAIGHT) -> list[Finding]:
    """Each hop to the gateway, up to the first that fails. Blocks, for some seconds at most."""
    found: list[Finding] = []
    for finding in _hops(installation, way):
        found.append(finding)
        if not finding.fine:
            break
    return found


def _hops(installation: Installation, way: Way) -> Iterator[Finding]:
    host, port = installation.gateway_host, installation.gateway_port
    proxy = way.proxy_to(host)
    if proxy is not None:  # which looks the name up itself
        try:
            line = way.connect(host, port, TIMEOUT_S)
        except OSError as error:
            yield Finding("proxy", fine=False, text=str(error))
            return
        with line:
            yield Finding("proxy", fine=True, text=f"{proxy} connects to {host}:{port}")
            yield _handshake(installation, line)
        return
    try:
        addresses = sorted(
            {str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        )
    except OSError as error:
        why = f"{host} has no address ({error.strerror}): check the name server of this machine"
        yield Finding("name", fine=False, text=why)
        return
    yield Finding("name", fine=True, text=f"{host} is {', '.join(addresses)}")
    try:
        line = socket.create_connection((host, port), timeout=TIMEOUT_S)
    except OSError as error:
        why = (
            f"no connection to {host}:{port} ({error}): let this machine connect outwards to TCP port {port}"
        )
        yield Finding("connection", fine=False, text=why)
        return
    with line:
        yield Finding("connection", fine=True, text=f"{host}:{port} accepts it")
        yield _handshake(installation, line)


def _handshake(installation: Installation, line: socket.socket) -> Finding:
    try:
        context = tls_context(installation.ca_pem)
        with contextlib.closing(context.wrap_socket(line, server_hostname=installation.gateway_host)) as tls:
            return Finding(
                "encryption", fine=True, text=f"{tls.version()}, and the certificate is the cloud's"
            )
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in DATES:
            text = (
                "the certificate is not valid at this machine's time: one of the clocks is wrong. The agent"
                " asks the cloud for its time and goes on"
            )
            return Finding("encryption", fine=True, text=text)
        why = (
            f"not the certificate of this cloud ({error.verify_message}): something in between answers for it"
        )
        return Finding("encryption", fine=False, text=why)
    except OSError as error:
        why = f"no encrypted connection ({error}): something in between does not let it pass"
        return Finding("encryption", fine=False, text=why)


def examine_ups(ups: dict[str, Any]) -> list[Finding]:
    """A UPS of a running agent, as its `status` describes it."""
    name, reads = ups["name"], ups["ups"] == ANSWERS
    known, on = bool(ups["product_id"]), bool(ups["smartconnect"])
    connected = ups["cloud"] == CONNECTED
    owner = "none yet: claim it in the portal with the codes of its label"
    if ups["owned"]:
        owner = "reset: it asks to be released, and reports nothing" if ups["reset"] else "yes"
    asks = f"off: use the front panel of the UPS, or smartconnect-agent enable --ups {name}"
    codes = "unknown: its [[ups]] table needs product_id and product_key_file"
    return [
        Finding(
            "UPS", reads, ups["model"] or ANSWERS if reads else f"{ups['ups']}: check cable, modbus and unit"
        ),
        Finding("codes", known, ups["product_id"] if known else codes),
        Finding("SmartConnect", on, "on" if on else asks),
        Finding("log-in", connected, ups["cloud"]),
        Finding("outlets", fine=True, text=_outlets(ups)),
        Finding("owner", fine=True, text=owner),
    ]


def _outlets(ups: dict[str, Any]) -> str:
    if ups.get("outlet_control"):
        return "the owner may switch outlet groups from afar (allow_outlet_control = true)"
    return "nobody switches them from afar; allow_outlet_control = true in its [[ups]] table would allow it"


STOPPED: Final = Finding("agent", fine=False, text="does not run: start it with smartconnect-agent run")


def readable(parts: dict[str, list[Finding]]) -> str:
    """The findings of cloud and UPSs, a line each."""
    lines = []
    for part, findings in parts.items():
        lines.append(part)
        lines += [f"  {'ok' if one.fine else 'FAILS':6} {one.hop:13} {one.text}" for one in findings]
    return "\n".join(lines)
