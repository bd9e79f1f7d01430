"""Export for people and programs: a device's samples and events as files, and what is stored about oneself.

====  ============================================  =======================================================
GET   ``/api/v1/devices/{id}/samples.csv``          all samples, oldest first; ``.json`` the same as JSON
GET   ``/api/v1/devices/{id}/events.csv``           all events; ``.json`` the same as JSON
GET   ``/api/v1/devices/{id}/tenures``              the times in which the device was the company's
GET   ``/api/v1/account/data``                      account, companies, devices, ownerships, audit
====  ============================================  =======================================================

``from_ms`` and ``to_ms`` (unix ms, the second one not included) choose a part. Only what the device reported
while the asking company owned it is there; whoever owned it once still has that time, and a device that never
was the company's is 404. At most a few exports run at once for an account: ``too_many`` with ``Retry-After``.

CSV is RFC 4180 in UTF-8; a value that was not available is empty. The answer is streamed, and a connection
that ends without its last chunk says that the export is not whole: the log-in has lost its rights, or the
database is away.
"""

import contextlib
import csv
import io
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from cloud.postgres import accounts, exports
from cloud.postgres.safety import UNAVAILABLE
from cloud.services import exporting
from cloud.services.exporting import MAX_MS, RightsLostError, Row, Wanted
from cloud.services.naming import UnknownDeviceError
from cloud.web.device_views import device_id_of_path
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import json_response
from cloud.web.sessions import IDLE_MS
from cloud.web.state import KIT, POOL, actor_of, now_ms, session_of

MAX_EXPORTS: Final = 8
MAX_EXPORTS_OF_ACCOUNT: Final = 2
RETRY_AFTER_S: Final = 10

RUNNING: Final = web.AppKey("exports_running", Counter[int])


# --- a device's rows ----------------------------------------------------------------------------------------


async def list_tenures(request: web.Request) -> web.Response:
    """When the device was the company's."""
    device_id = device_id_of_path(request)
    product_id, found = await _tenures(request, device_id)
    return json_response(
        {
            "device_id": str(device_id),
            "product_id": product_id,
            "tenures": [
                {"epoch": one.epoch, "from_ms": one.from_ms, "until_ms": one.until_ms} for one in found
            ],
        }
    )


async def export_samples(request: web.Request) -> web.StreamResponse:
    """Every sample of the company's time."""
    return await _export(request, "samples", exports.SAMPLE_COLUMNS, exporting.samples)


async def export_events(request: web.Request) -> web.StreamResponse:
    """Every event of the company's time."""
    return await _export(request, "events", exports.EVENT_COLUMNS, exporting.events)


async def _tenures(request: web.Request, device_id: int) -> tuple[str, list[exports.Tenure]]:
    try:
        return await exporting.tenures(request.app[POOL], actor_of(request), device_id)
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None


async def _export(
    request: web.Request,
    what: str,
    columns: Sequence[str],
    read: Callable[..., AsyncIterator[Sequence[Row]]],
) -> web.StreamResponse:
    device_id, (from_ms, to_ms) = device_id_of_path(request), _range_of(request)
    product_id, tenures = await _tenures(request, device_id)
    wanted = Wanted(device_id, [one.epoch for one in tenures], from_ms, to_ms)
    kind = request.match_info["kind"]
    shape = _Csv(columns) if kind == "csv" else _Json(what, device_id, columns)
    response = web.StreamResponse(
        headers={
            "Content-Type": shape.content_type,
            "Content-Disposition": f'attachment; filename="{product_id}-{what}.{kind}"',
        }
    )
    with _place(request):
        pages = read(request.app[POOL], actor_of(request), wanted, lambda: _has_rights(request))
        async with contextlib.aclosing(pages):  # type: ignore[type-var]  # an async generator, as typed above
            await _stream(request, response, shape, pages)
    return response


async def _stream(
    request: web.Request, response: web.StreamResponse, shape: "_Shape", pages: AsyncIterator[Sequence[Row]]
) -> None:
    """The first page is read before the answer begins, so that what is wrong can still be said."""
    page = await anext(pages, None)
    await response.prepare(request)
    try:
        await response.write(shape.head().encode())
        while page is not None:
            await response.write(shape.rows(page).encode())
            page = await anext(pages, None)
        await response.write(shape.tail().encode())
        await response.write_eof()
    except (RightsLostError, *UNAVAILABLE):
        if request.transport is not None:
            request.transport.abort()  # without the last chunk the reader knows that this is not all
        raise ConnectionResetError("an export was cut") from None


async def _has_rights(request: web.Request) -> bool:
    """Whether the log-in is still what it was when the export began."""
    session = session_of(request)
    rights = await accounts.session_rights(
        request.app[POOL], [session.session_hash], now_ms=now_ms(), idle_ms=IDLE_MS
    )
    return rights.get(session.session_hash) == (session.company_id, session.role)


@contextlib.contextmanager
def _place(request: web.Request) -> Iterator[None]:
    """One of the exports that may run at once. Problem (too_many)."""
    running, account_id = request.app[RUNNING], session_of(request).account_id
    if running[account_id] >= MAX_EXPORTS_OF_ACCOUNT or running.total() >= MAX_EXPORTS:
        raise Problem(ProblemCode.TOO_MANY, retry_after_s=RETRY_AFTER_S)
    running[account_id] += 1
    try:
        yield
    finally:
        running[account_id] -= 1
        if not running[account_id]:
            del running[account_id]


def _range_of(request: web.Request) -> tuple[int, int]:
    """``from_ms`` and ``to_ms`` of the query. Problem (bad_request)."""
    found: list[int] = []
    for name, default in (("from_ms", 0), ("to_ms", MAX_MS)):
        text = request.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= 15 and int(text) <= MAX_MS):
            raise Problem(ProblemCode.BAD_REQUEST, detail=f"{name} is a time in unix ms, from 0 to {MAX_MS}.")
        found.append(int(text))
    return found[0], found[1]


# --- shapes -------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A value without NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


class _Csv:
    """A table; its first column is the time for people."""

    content_type = "text/csv; charset=utf-8; header=present"

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def head(self) -> str:
        return self._text([("time", *self._columns)])

    def rows(self, page: Sequence[Row]) -> str:
        return self._text([(_iso(row[0]), *map(_cell, row)) for row in page])

    def tail(self) -> str:
        return ""

    @staticmethod
    def _text(rows: Sequence[Sequence[object]]) -> str:
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        return out.getvalue()


class _Json:
    """One object, its rows one a line."""

    content_type = "application/json"

    def __init__(self, what: str, device_id: int, columns: Sequence[str]) -> None:
        self._what, self._device_id, self._columns = what, device_id, columns
        self._first = True

    def head(self) -> str:
        return f'{{"device_id":"{self._device_id}","{self._what}":['

    def rows(self, page: Sequence[Row]) -> str:
        lines = [
            json.dumps(
                dict(zip(self._columns, map(_plain, row), strict=True)),
                allow_nan=False,
                separators=(",", ":"),
            )
            for row in page
        ]
        begins = "\n" if self._first else ",\n"
        self._first = False
        return begins + ",\n".join(lines)

    def tail(self) -> str:
        return "\n]}\n"


_Shape = _Csv | _Json


def _iso(ts_ms: int) -> str:
    """2026-11-21T08:00:00.123Z."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _cell(value: Any) -> object:
    """What stands in a cell; text of a device never begins like a formula, for it is JSON."""
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return _plain(value)


# --- oneself ------------------------------------------------------------------------------------------------


async def export_person(request: web.Request) -> web.Response:
    """*Download my data*."""
    found = await exporting.about_person(request.app[KIT], session_of(request).account_id)
    return web.Response(
        text=json.dumps({"made_ms": now_ms(), **found}, allow_nan=False, indent=1),
        content_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="my-data.json"'},
    )


def add_routes(app: web.Application) -> None:
    """Register these handlers."""
    app[RUNNING] = Counter()
    device = r"/api/v1/devices/{device_id:\d{1,19}}"
    app.router.add_get(device + "/tenures", list_tenures)
    app.router.add_get(device + "/samples.{kind:csv|json}", export_samples, allow_head=False)
    app.router.add_get(device + "/events.{kind:csv|json}", export_events, allow_head=False)
    app.router.add_get("/api/v1/account/data", export_person)
