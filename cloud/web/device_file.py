"""The list of devices as CSV (RFC 4180, UTF-8): streamed page by page, safe to open in a spreadsheet.

A text that a spreadsheet would take for a formula gets an apostrophe in front: names are typed by people,
models are what a device says. What is not known is an empty cell. A connection that ends without its last
chunk says that the file is not whole: the log-in has lost its rights, or the database is away.
"""

import contextlib
import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from cloud.core.device_state import FACES, condition_of
from cloud.postgres import accounts
from cloud.postgres.safety import UNAVAILABLE
from cloud.services import fleet
from cloud.services.exporting import RightsLostError
from cloud.services.fleet import Asked, Listed
from cloud.web.sessions import IDLE_MS
from cloud.web.state import POOL, actor_of, now_ms, session_of

COLUMNS: Final = (
    "name",
    "product_id",
    "model",
    "sku",
    "serial",
    "firmware",
    "site",
    "condition",
    "state",
    "runtime_s",
    "charge_pct",
    "load_pct",
    "load_w",
    "battery_temperature_c",
    "last_seen",
    "description",
    "page",
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


async def stream(request: web.Request, asked: Asked) -> web.StreamResponse:
    """The answer. RefusedError before it begins, where the query cannot be understood."""
    at_ms = now_ms()
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="devices-{_day(at_ms)}.csv"',
        }
    )

    async def may_go_on() -> bool:
        session = session_of(request)
        rights = await accounts.session_rights(
            request.app[POOL], [session.session_hash], now_ms=now_ms(), idle_ms=IDLE_MS
        )
        return rights.get(session.session_hash) == (session.company_id, session.role)

    pages = fleet.export(request.app[POOL], actor_of(request), asked, at_ms, may_go_on)
    async with contextlib.aclosing(pages):  # type: ignore[type-var]  # an async generator, as typed there
        page = await anext(pages, None)  # before the answer begins, so that what is wrong can still be said
        await response.prepare(request)
        try:
            await response.write(_text([COLUMNS]))
            while page is not None:
                await response.write(_text([row_of(one, at_ms) for one in page]))
                page = await anext(pages, None)
            await response.write_eof()
        except (RightsLostError, *UNAVAILABLE):
            if request.transport is not None:
                request.transport.abort()  # without the last chunk the reader knows that this is not all
            raise ConnectionResetError("a list was cut") from None
    return response


def row_of(listed: Listed, at_ms: int) -> tuple[object, ...]:
    """One device in the order of COLUMNS."""
    view, values = listed.view, listed.view.values
    condition = condition_of(view, at_ms)
    return (
        safe(view.title),
        view.product_id,
        safe(view.model),
        safe(view.sku),
        safe(view.serial),
        safe(view.firmware),
        safe(listed.site),
        condition.value,
        FACES[condition].word,
        _rounded(values["runtime_remaining"]),
        _rounded(values["state_of_charge"]),
        _rounded(values["output_real_power_pct"]),
        _rounded(view.load_w),
        _rounded(values["battery_temperature"]),
        _iso(view.seen_ms) if view.seen_ms else None,
        safe(view.description),
        f"/devices/{view.device_id}",
    )


def safe(text: str) -> str:
    """The text, never a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _text(rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")[:-6] + "Z"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
