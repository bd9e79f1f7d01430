"""A server's database as people and programs are shown it; no secret of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from agent.core.attachment import attached_peers
from agent.core.system import shown
from protocol.system import FIELDS, Source, Stand, System, SystemId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.core.system import Database, Shown
    from agent.system.link_listener import Alive
    from protocol.system import Registration

KINDS: Final = {System.ENTERPRISE_SERVER: "Enterprise Server", System.STANDALONE: "stand-alone server"}
STANDS: Final = {
    Stand.UNREGISTERED: "not registered",
    Stand.PENDING: "registered; the end-user's consents are missing",
    Stand.REGISTERED: "registered",
    Stand.RETIRED: "retired: another System ID has taken its place",
}
LEFT: Final = {
    "by_attached": "detached here",
    "by_enterprise": "the Enterprise Server has detached it",
    "database_deleted": "the Enterprise Server's database was deleted",
}


def describe(database: Database, *, mono_ms: int, alive: Mapping[str, Alive]) -> dict[str, Any]:
    """Everything `system show` knows of a server, as plain JSON."""
    now = shown(database)
    heard = database.heard
    answer: dict[str, Any] = {
        "system_id": database.system_id,
        "written": SystemId.parse(database.system_id).written,
        "kind": database.kind.value,
        "name": database.name,
        "licences": list(database.licences),
        "previous": list(database.previous),
        "stand": now.stand.value,
        "from": _origin(now),
        "from_id": now.source_id,
        "offline": now.offline,
        "registration": _plain(now.registration),
        "own": _plain(now.own) if now.own != now.registration else None,
        "since": moment(now.since_ms),
        "request_open": None if database.asked is None else database.asked.operation.name.lower(),
        "waiting": [] if heard is None else [_waiting(one) for one in heard.state.waiting],
        "notices": [
            {"number": one.number, "time": moment(one.ts_ms), "code": one.code, "text": one.text}
            for one in database.notices
        ],
        "attached_to": None,
        "left": None if database.left is None else LEFT[database.left.value],
        "attached": [],
    }
    if database.lead is not None:
        lead = database.lead
        answer["attached_to"] = {
            "system_id": lead.system_id,
            "name": lead.name,
            "address": f"{lead.host}:{lead.port}",
            "passed_on": moment(lead.passed_ms) if lead.passed else None,
        }
    for peer in attached_peers(database):
        found = alive.get(peer.system_id)
        answer["attached"].append(
            {
                "system_id": peer.system_id,
                "name": peer.report.name,
                "version": peer.report.version,
                "licences": list(peer.report.licences),
                "connected": found is not None,
                "heard_s": None if found is None else (mono_ms - found.heard_ms) // 1000,
                "uptime_s": None if found is None else found.uptime_s,
                "since": moment(peer.attached_ms),
            }
        )
    return answer


def _origin(now: Shown) -> str:
    if now.registration is None and now.source is Source.OWN:
        return ""
    return {
        Source.OWN: "registration code" if now.offline else "own",
        Source.LEAD: "lead",
        Source.ATTACHED: "Enterprise Server",
    }[now.source]


def _waiting(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "company": one.company,
        "slot": one.slot,
        "operation": one.operation,
        "number": one.number,
    }


def _plain(registration: Registration | None) -> dict[str, Any] | None:
    if registration is None:
        return None
    fields = {**registration.data, **registration.contacts, **registration.warranty}
    return {
        "number": registration.number,
        "registered": moment(registration.registered_ms),
        "integrator": registration.integrator,
        "end_user": registration.end_user,
        "fields": {
            name: fields[name] for name in (*FIELDS, *sorted(set(fields) - set(FIELDS))) if fields.get(name)
        },
    }


def moment(moment_ms: int) -> str:
    """UTC, to the second; "" for a moment no calendar has."""
    try:
        return dt.datetime.fromtimestamp(moment_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return ""


def readable(shown: dict[str, Any]) -> str:
    """The same for people, a line each."""
    rows = [
        ("System ID", shown["written"]),
        ("server", f"{KINDS[System(shown['kind'])]}, {shown['name']}"),
        ("version", shown.get("version", "")),
        ("licences", ", ".join(shown["licences"])),
        ("registration", STANDS[Stand(shown["stand"])]),
    ]
    rows += _registration_rows(shown)
    rows += [
        (
            "asked for",
            f"{shown['request_open']}; a registration code is awaited" if shown["request_open"] else "",
        ),
        ("attached to", _lead(shown["attached_to"])),
        ("stands alone", shown["left"] or ""),
        (
            "link",
            f"{shown['link']['state']}"
            + (f", port {shown['link']['port']}" if "port" in shown["link"] else ""),
        ),
        ("cloud", shown.get("cloud", "")),
    ]
    rows += [("attached", _peer(one)) for one in shown["attached"]]
    rows += [
        ("waits for a yes", f"{one['name']}: {one['company']} as {one['slot']}") for one in shown["waiting"]
    ]
    rows += [("notice", f"{one['time']}: {one['text']}") for one in shown["notices"][-5:]]
    rows += [("earlier ID", one) for one in shown["previous"][-3:]]
    return "\n".join(f"{_printable(name):15} {_printable(value)}" for name, value in rows if value)


def _printable(text: str) -> str:
    """What others have written, without anything that a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _registration_rows(shown: dict[str, Any]) -> list[tuple[str, str]]:
    registration, rows = shown["registration"], []
    if shown["from"]:
        whose = f" {shown['from_id']}" if shown["from_id"] else ""
        rows.append(("comes from", f"{shown['from']}{whose}, {shown['since']}"))
    if registration is not None:
        rows += [
            ("number", registration["number"]),
            ("integrator", registration["integrator"]),
            ("end-user", registration["end_user"]),
        ]
        rows += [(FIELDS.get(name, name), value) for name, value in registration["fields"].items()]
    if shown["own"] is not None:
        rows.append(("its own", f"{shown['own']['number']}, shown again when it stands alone"))
    return rows


def _lead(lead: dict[str, Any] | None) -> str:
    if lead is None:
        return ""
    heard = f"last word {lead['passed_on']}" if lead["passed_on"] else "nothing passed on yet"
    return f"{lead['name']} at {lead['address']} ({lead['system_id']}), {heard}"


def _peer(peer: dict[str, Any]) -> str:
    state = f"heard {peer['heard_s']} s ago" if peer["connected"] else "not connected"
    return f"{peer['name']} {peer['version']} ({peer['system_id']}), {state}"
