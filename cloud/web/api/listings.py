"""The lists that pages show, as files: devices, a device's outages, and what was done in a company.

CSV as of exports (RFC 4180, UTF-8), with the time for people first. A text that a spreadsheet would take for
a formula gets an apostrophe before it, for some of these texts were typed by somebody.
"""

import asyncio
import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.authz import Action
from cloud.core.exposition import Told
from cloud.postgres import audit_trail
from cloud.services import event_log, fleet, outages
from cloud.web.api import outages as outage_api
from cloud.web.api.device_json import LogEntry, log_json
from cloud.web.api.devices import OfSeverity, Search, own
from cloud.web.api.exports import MEDIA, Kind, Time, iso, place
from cloud.web.api.kinds import DeviceId, Line, Ms
from cloud.web.api.operation import JSON_TYPE, Section
from cloud.web.event_search import Wish, wish_of
from cloud.web.problems import ProblemCode
from cloud.web.state import POOL, actor_of, now_ms

SECTION: Final = Section(
    "Lists as files", "What the pages list, for spreadsheets and programs.", reads=Scope.DEVICES_READ
)
MAX_LINES: Final = 10_000
"""Of an audit trail at once; `to_ms` goes further back."""
MAX_OUTAGES: Final = 5_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class AuditLine(Struct):
    """Something that was done in the company."""

    ts_ms: Ms
    kind: str
    email: Annotated[str, Meta(description="Who did it; empty where nobody did, or the account is deleted.")]
    device_id: str
    product_id: str
    detail: dict[str, Any]


class CompanyAudit(Struct):
    """What was done in the company, newest first."""

    lines: list[AuditLine]


@SECTION.operation(
    "GET",
    "/devices.{kind}",
    answer=dict[str, Any],
    media=MEDIA,
    problems=[ProblemCode.TOO_MANY, ProblemCode.FIELD_INVALID],
)
async def list_devices(request: web.Request, kind: Kind, q: Search = "", sort: Line = "name") -> web.Response:
    """The devices that a search finds, all of the company without one, with their newest values; those of a
    silent device are missing.
    """
    at_ms, asked = now_ms(), fleet.Asked(q, sort)
    with place(request):
        pages = fleet.export(request.app[POOL], actor_of(request), asked, at_ms, _goes_on)
        found = [one async for page in pages for one in page]
        rows = [_device_row(Told.of(one.view, one.site, at_ms)) for one in found]
        return await _file(kind, "devices", DEVICE_COLUMNS, rows)


async def _goes_on() -> bool:
    """Nothing leaves before all is read, and that is soon."""
    return True


DEVICE_COLUMNS: Final = (
    "seen_ms",
    "device_id",
    "product_id",
    "name",
    "model",
    "sku",
    "serial",
    "firmware",
    "site",
    "condition",
    "charge_pct",
    "runtime_s",
    "load_pct",
    "load_w",
    "input_voltage",
    "output_voltage",
    "owned_since_ms",
)


def _device_row(told: Told) -> tuple[object, ...]:
    view = told.view
    values: Mapping[str, float | None] = view.values if told.up else {}
    return (
        view.seen_ms or None,
        str(view.device_id),
        view.product_id,
        view.name,
        view.model,
        view.sku,
        view.serial,
        view.firmware,
        told.site,
        told.condition.value,
        values.get("state_of_charge"),
        values.get("runtime_remaining"),
        values.get("output_real_power_pct"),
        view.load_w if told.up else None,
        values.get("input_voltage"),
        values.get("output_voltage"),
        view.from_ms,
    )


@SECTION.operation(
    "GET",
    "/devices/{device_id}/outages.{kind}",
    answer=dict[str, Any],
    media=MEDIA,
    problems=[ProblemCode.TOO_MANY],
)
async def list_outages(request: web.Request, device_id: DeviceId, kind: Kind) -> web.Response:
    """The outages of a device during your ownership, the newest first."""
    with place(request):
        view = await own(request, device_id)
        past = await outages.list_outages(request.app[POOL], view, now_ms(), limit=MAX_OUTAGES)
        rows = [msgspec.structs.astuple(outage_api.outage_json(one)) for one in past.outages]
        columns = outage_api.DeviceOutage.__struct_fields__
        return await _file(kind, f"{view.product_id}-outages", columns, rows, what="outages")


@SECTION.operation(
    "GET", "/events.{kind}", answer=dict[str, Any], media=MEDIA, problems=[ProblemCode.TOO_MANY]
)
async def find_events(
    request: web.Request, kind: Kind, q: Line = "", severity: OfSeverity = ""
) -> web.Response:
    """The newest events of the company's devices that are searched for, up to 10 000 at once."""
    with place(request):
        rows = await _events(request, wish_of({"q": q, "severity": severity}, None))
        return await _file(kind, "events", LogEntry.__struct_fields__, rows)


@SECTION.operation(
    "GET",
    "/devices/{device_id}/events/search.{kind}",
    answer=dict[str, Any],
    media=MEDIA,
    problems=[ProblemCode.TOO_MANY],
)
async def find_events_of_device(
    request: web.Request, device_id: DeviceId, kind: Kind, q: Line = "", severity: OfSeverity = ""
) -> web.Response:
    """The newest events of a device that are searched for, up to 10 000 at once."""
    with place(request):
        view = await own(request, device_id)
        rows = await _events(request, wish_of({"q": q, "severity": severity}, view.device_id))
        return await _file(kind, f"{view.product_id}-events", LogEntry.__struct_fields__, rows, what="events")


async def _events(request: web.Request, wish: Wish) -> list[tuple[object, ...]]:
    actor = actor_of(request)
    found = await event_log.look(
        request.app[POOL], actor, wish.sought(actor.company_id), now_ms(), limit=event_log.MAX_FILE
    )
    return [msgspec.structs.astuple(log_json(one)) for one in found.events]


@SECTION.operation(
    "GET",
    "/company/audit",
    scope=Scope.AUDIT_READ,
    problems=[ProblemCode.FORBIDDEN],
)
async def show_audit(
    request: web.Request, from_ms: Time = 0, to_ms: Time = outages.END_OF_TIME_MS
) -> CompanyAudit:
    """What people did in the company and what happened to its devices, newest first; for its heads."""
    return CompanyAudit([_audit_line(one) for one in await _audit(request, from_ms, to_ms)])


@SECTION.operation(
    "GET",
    "/company/audit.{kind}",
    answer=dict[str, Any],
    media=MEDIA,
    scope=Scope.AUDIT_READ,
    problems=[ProblemCode.FORBIDDEN, ProblemCode.TOO_MANY],
)
async def export_audit(
    request: web.Request, kind: Kind, from_ms: Time = 0, to_ms: Time = outages.END_OF_TIME_MS
) -> web.Response:
    """The same as a file, up to 10 000 lines at once."""
    with place(request):
        rows = [msgspec.structs.astuple(_audit_line(one)) for one in await _audit(request, from_ms, to_ms)]
        return await _file(kind, "audit", AuditLine.__struct_fields__, rows, what="lines")


async def _audit(request: web.Request, from_ms: int, to_ms: int) -> list[audit_trail.Line]:
    actor = actor_of(request)
    actor.must(Action.MEMBERS)
    return await audit_trail.of_company(
        request.app[POOL], actor.company_id, from_ms=from_ms, to_ms=to_ms, limit=MAX_LINES
    )


def _audit_line(line: audit_trail.Line) -> AuditLine:
    device_id = "" if line.device_id is None else str(line.device_id)
    return AuditLine(line.ts_ms, line.kind, line.email or "", device_id, line.product_id, line.detail)


# --- files --------------------------------------------------------------------------------------------------


async def _file(
    kind: str, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, what: str = ""
) -> web.Response:
    """A list as a file. It may be long, so it is not for the event loop."""
    write = csv_of if kind == "csv" else json_of_rows
    return web.Response(
        body=await asyncio.to_thread(write, what or name, columns, rows),
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present"
            if kind == "csv"
            else f"{JSON_TYPE}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}.{kind}"',
        },
    )


def csv_of(_what: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A table; its first column is the first one's time for people."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("time", *columns))
    for row in rows:
        first = row[0]
        writer.writerow((iso(first) if isinstance(first, int) else "", *map(cell, row)))
    return out.getvalue().encode()


def json_of_rows(what: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """One object with a list of objects."""
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return msgspec.json.encode({what: found})


def cell(value: object) -> object:
    """What stands in a cell. A number stays one; no text begins like a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
