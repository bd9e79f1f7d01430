"""`smartconnect-agent system doctor`: the server's database, its hops to the portal, its links to others."""

from __future__ import annotations

import urllib.parse
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent.doctor import TIMEOUT_S, Finding, examine_cloud
from agent.proxy import STRAIGHT
from agent.system.view import KINDS, STANDS
from protocol.system import Stand, System

if TYPE_CHECKING:
    from agent.proxy import Way
    from protocol.messages import Installation

CONNECTED: Final = "connected"
LISTENS: Final = "listens"
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
OFFLINE: Final = Finding(
    "portal", fine=True, text="not asked (system_online = false): this server registers offline, by code"
)


def examine_portal(installation: Installation, way: Way = STRAIGHT) -> list[Finding]:
    """Each hop to the portal, up to the first that fails. Blocks, for some seconds at most."""
    parts = urllib.parse.urlsplit(installation.portal_url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        why = f"{installation.portal_url!r} is no address: ask for a new installation file (admin bundle)"
        return [Finding("portal", fine=False, text=why)]
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    if parts.scheme == "https":
        return examine_cloud(replace(installation, gateway_host=parts.hostname, gateway_port=port), way)
    try:
        way.connect(parts.hostname, port, TIMEOUT_S).close()
    except OSError as error:
        why = f"no connection to {parts.hostname}:{port} ({error}): let this machine connect outwards to it"
        return [Finding("connection", fine=False, text=why)]
    return [Finding("connection", fine=True, text=f"{parts.hostname}:{port} accepts it, without encryption")]


def examine_server(shown: dict[str, Any]) -> list[Finding]:
    """A server of a running agent, as it shows itself."""
    stand = Stand(shown["stand"])
    text = f"{KINDS[System(shown['kind'])]}, System ID {shown['written']}"
    found = [Finding("database", fine=True, text=text)]
    if shown["cloud"].startswith("offline"):
        found.append(OFFLINE)
    else:
        found.append(Finding("exchange", shown["cloud"] == CONNECTED, shown["cloud"]))
    found.append(Finding("registration", fine=stand is not Stand.RETIRED, text=_stand(shown, stand)))
    if System(shown["kind"]) is System.ENTERPRISE_SERVER:
        return found + _own_link(shown)
    return found + _link_up(shown)


def _stand(shown: dict[str, Any], stand: Stand) -> str:
    if stand is Stand.RETIRED:
        return f"{STANDS[stand]}. Delete the database here for a new System ID, if this server is still used"
    if stand is Stand.UNREGISTERED:
        return "none yet: smartconnect-agent system register, or system request without a network"
    whose = f" ({shown['from']})" if shown["from"] else ""
    return STANDS[stand] + whose


def _own_link(shown: dict[str, Any]) -> list[Finding]:
    link = shown["link"]
    if link["state"] != LISTENS:
        return [Finding("link", fine=False, text=link["state"])]
    text = f"listens; attached servers need to reach TCP port {link['port']} of this machine (inbound rule)"
    found = [Finding("link", fine=True, text=text)]
    for peer in shown["attached"]:
        silent = (
            "does not call: run smartconnect-agent system doctor there, and see that the firewall here lets"
            f" TCP port {link['port']} in"
        )
        heard = f"heard {peer['heard_s']} s ago"
        found.append(Finding(peer["name"][:13], peer["connected"], heard if peer["connected"] else silent))
    return found


def _link_up(shown: dict[str, Any]) -> list[Finding]:
    lead = shown["attached_to"]
    if lead is None:
        return [Finding("link", fine=True, text="not attached to an Enterprise Server")]
    state = shown["link"]["state"]
    seen = f"connected to {lead['name']} at {lead['address']}"
    return [
        Finding("link", state == CONNECTED, seen if state == CONNECTED else f"{lead['address']}: {state}")
    ]
