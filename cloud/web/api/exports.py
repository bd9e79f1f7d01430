"""Export for people and programs: a device's samples and events as files, and what is stored about oneself.

``from_ms`` and ``to_ms`` (unix ms, the second one not included) choose a part. Only what the device reported
while the asking company owned it is there; whoever owned it once still has that time, and a device that never
was the company's is 404. At most a few exports run at once for an account: ``too_many`` with ``Retry-After``.

CSV is RFC 4180 in UTF-8; a value that was not available is empty. The answer is streamed, and a connection
that ends without its last chunk says that the export is not whole: the log-in has lost its rights, or the
database is away.
"""

import asyncio
import contextlib
import csv
import io
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.postgres import accounts, api_tokens, exports
from cloud.postgres.safety import UNAVAILABLE
from cloud.services import exporting
from cloud.services.exporting import MAX_MS, RightsLostError, Row, Wanted
from cloud.services.naming import UnknownDeviceError
from cloud.web.api.kinds import DeviceId, Ms, device_number
from cloud.web.api.operation import JSON_TYPE, PERSON, Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.sessions import IDLE_MS
from cloud.web.state import KIT, POOL, actor_of, now_ms, session_of, visit_of

MAX_EXPORTS: Final = 8
MAX_EXPORTS_OF_ACCOUNT: Final = 2
RETRY_AFTER_S: Final = 10

RUNNING: Final = web.AppKey("exports_running", Counter[int])


SECTION: Final = Section(
    "Export", "What your devices have reported in your time, as files; your data.", reads=Scope.DEVICES_READ
)
MEDIA: Final = (JSON_TYPE, "text/csv")

Kind = Annotated[Literal["csv", "json"], Meta(description="Kind of file.")]
Time = Annotated[int, Meta(ge=0, le=MAX_MS, description="Unix ms; to_ms is not included.")]


class Tenure(Struct):
    """A time in which the device was your company's."""

    epoch: int
    from_ms: Ms
    until_ms: Annotated[int | None, Meta(description="None: still.")]


class Tenures(Struct):
    """All of them, the oldest first."""

    device_id: str
    product_id: str
    tenures: list[Tenure]


@dataclass(frozen=True, slots=True)
class _Part:
    """What is exported."""

    what: str
    device_id: int
    kind: str
    from_ms: int
    to_ms: int


# --- a device's rows ----------------------------------------------------------------------------------------


@SECTION.operation("GET", "/devices/{device_id}/tenures")
async def list_tenures(request: web.Request, device_id: DeviceId) -> Tenures:
    """When the device was the company's."""
    product_id, found = await _tenures(request, device_number(device_id))
    return Tenures(
        device_id=str(int(device_id)),
        product_id=product_id,
        tenures=[Tenure(one.epoch, one.from_ms, one.until_ms) for one in found],
    )


@SECTION.operation(
    "GET",
    "/devices/{device_id}/samples.{kind}",
    answer=dict[str, Any],
    media=MEDIA,
    problems=[ProblemCode.TOO_MANY],
)
async def export_samples(
    request: web.Request, device_id: DeviceId, kind: Kind, from_ms: Time = 0, to_ms: Time = MAX_MS
) -> web.StreamResponse:
    """Every sample of the company's time, oldest first."""
    part = _Part("samples", device_number(device_id), kind, from_ms, to_ms)
    return await _export(request, part, exports.SAMPLE_COLUMNS, exporting.samples)


@SECTION.operation(
    "GET",
    "/devices/{device_id}/events.{kind}",
    answer=dict[str, Any],
    media=MEDIA,
    problems=[ProblemCode.TOO_MANY],
)
async def export_events(
    request: web.Request, device_id: DeviceId, kind: Kind, from_ms: Time = 0, to_ms: Time = MAX_MS
) -> web.StreamResponse:
    """Every event of the company's time, oldest first."""
    part = _Part("events", device_number(device_id), kind, from_ms, to_ms)
    return await _export(request, part, exports.EVENT_COLUMNS, exporting.events)


async def _tenures(request: web.Request, device_id: int) -> tuple[str, list[exports.Tenure]]:
    try:
        return await exporting.tenures(request.app[POOL], actor_of(request), device_id)
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None


async def _export(
    request: web.Request,
    part: "_Part",
    columns: Sequence[str],
    read: Callable[..., AsyncIterator[Sequence[Row]]],
) -> web.StreamResponse:
    product_id, tenures = await _tenures(request, part.device_id)
    wanted = Wanted(part.device_id, [one.epoch for one in tenures], part.from_ms, part.to_ms)
    shape = _Csv(columns) if part.kind == "csv" else _Json(part.what, part.device_id, columns)
    response = web.StreamResponse(
        headers={
            "Content-Type": shape.content_type,
            "Content-Disposition": f'attachment; filename="{product_id}-{part.what}.{part.kind}"',
        }
    )
    with place(request):
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
    """Whether the log-in or token is still what it was when the export began."""
    session = session_of(request)
    if visit_of(request).grant is not None:
        found = await api_tokens.rights(request.app[POOL], session.session_hash, now_ms())
        return found == (session.company_id, session.role)
    rights = await accounts.session_rights(
        request.app[POOL], [session.session_hash], now_ms=now_ms(), idle_ms=IDLE_MS
    )
    return rights.get(session.session_hash) == (session.company_id, session.role)


@contextlib.contextmanager
def place(request: web.Request) -> Iterator[None]:
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
        return self._text([(iso(row[0]), *map(_cell, row)) for row in page])

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


def iso(ts_ms: int) -> str:
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


@SECTION.operation(
    "GET", "/account/data", answer=dict[str, Any], scope=PERSON, problems=[ProblemCode.TOO_MANY]
)
async def export_person(request: web.Request) -> web.Response:
    """*Download my data*."""
    with place(request):
        found = await exporting.about_person(request.app[KIT], session_of(request).account_id)
        response = web.Response(
            body=await asyncio.to_thread(_encoded, {"made_ms": now_ms(), **found}),
            content_type="application/json",
            charset="utf-8",
            headers={"Content-Disposition": 'attachment; filename="my-data.json"'},
        )
        await response.prepare(request)
        await response.write_eof()  # here, for until it is sent it is in memory
    return response


def _encoded(found: Mapping[str, Any]) -> bytes:
    """What is stored about a person, as text: it may be long, so this is not for the event loop."""
    return json.dumps(found, allow_nan=False, indent=1).encode()


def prepare(app: web.Application) -> None:
    """What counts the running ones."""
    app[RUNNING] = Counter()
