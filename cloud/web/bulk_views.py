"""Adding many devices at once: the list, the job's progress as it happens, and its result as CSV."""

import csv
import io
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.bulk import COMING, MAX_ROWS, ROWS_PER_S, YOURS, Result, TooManyRowsError
from cloud.core.manifest import ManifestMode
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres.bulk import Job, Line
from cloud.services import bulk_claiming
from cloud.services.bulk_claiming import BulkClaims
from cloud.web import sse
from cloud.web.middleware import Handler
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page, see_other
from cloud.web.state import HUB, LABEL_KEYS, PAGES, POOL, SETTINGS, actor_of, now_ms, session_of

BULK: Final = web.AppKey("bulk", BulkClaims)
MAX_LIST_BYTES: Final = 2 * 1024 * 1024
BEAT_S: Final = 1.0
SHOWN: Final = 200
"""Lines on the page; the CSV has all of them."""
NO_DEVICE: Final = 0
"""Watched for the log-in's sake only: the stream ends with its rights."""
DAY_MS: Final = 86_400_000

TEXTS: Final = {
    Result.OPEN: "Not checked yet",
    Result.WON: "Yours",
    Result.ALREADY_YOURS: "Yours already",
    Result.WAITING: "Waiting for the device: check the codes, the network cable, and SmartConnect",
    Result.SMARTCONNECT_OFF: "SmartConnect is not enabled on the device: please enable it",
    Result.SEVERAL_KEYS: "Several devices announce themselves with this label: pick one by its fingerprint",
    Result.OWNED_ELSEWHERE: "Already associated with another account",
    Result.EXPIRED: "Nothing was heard from the device in time",
    Result.CANCELLED: "You stopped waiting for this device",
    Result.NO_CODES: "The line does not hold a Product ID and a Product Key",
    Result.PRODUCT_ID_INVALID: "The Product ID must have 12 letters and digits",
    Result.PRODUCT_KEY_INVALID: "The Product Key must have 14 letters and digits",
    Result.REPEATED: "The same codes stand in a line above",
    Result.NOT_ALLOWED: "Whoever gave this list may no longer register devices",
    Result.INTERRUPTED: "Not checked, because the portal was restarted: please give this line again",
}


async def show_form(request: web.Request) -> web.Response:
    """The form for a list."""
    actor_of(request).must(Action.CLAIM)
    return _form(request)


def _form(request: web.Request, fault: str = "", status: int = 200) -> web.Response:
    context = {"fault": fault, "max_rows": MAX_ROWS, "rows_per_s": round(ROWS_PER_S)}
    return page(request, "bulk.html", context, status=status)


async def submit(request: web.Request) -> web.Response:
    """Take a list. Its Product Keys are never shown again, nor stored."""
    form = await request.post()
    text = form.get("list", "")
    try:
        job_id = await request.app[BULK].submit(actor_of(request), str(text), now_ms())
    except TooManyRowsError:
        return _form(request, f"A list has {MAX_ROWS} lines at most.", 422)
    except RefusedError as refusal:
        return _form(request, str(refusal), 429 if refusal.code is RefusalCode.TOO_MANY_OPEN else 422)
    return see_other(f"/add/bulk/{job_id}")


async def _find(request: web.Request) -> tuple[Job, list[Line]]:
    try:
        job_id = str(uuid.UUID(request.match_info["job_id"]))
    except ValueError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    found = await bulk_claiming.look(request.app[POOL], actor_of(request), job_id)
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return found


def job_context(job: Job, lines: Sequence[Line]) -> dict[str, object]:
    """What the templates of a job need to know. Lines that need somebody's attention stand first."""
    counts = Counter(line.result for line in lines)
    attention = [line for line in lines if line.result not in YOURS | COMING]
    rest = [line for line in lines if line.result in COMING and line.result is not Result.OPEN]
    return {
        "job": job,
        "running": job.state == "running",
        "checked": job.rows - counts[Result.OPEN],
        "counts": [(TEXTS[result], counts[result]) for result in Result if counts[result]],
        "lines": [(line, TEXTS[line.result]) for line in (attention + rest)[:SHOWN]],
        "hidden": max(0, len(attention) + len(rest) - SHOWN),
    }


async def show_job(request: web.Request) -> web.Response:
    """How far a job has come; live where JavaScript runs, else reloaded by hand."""
    return page(request, "bulk_job.html", job_context(*await _find(request)))


async def stream_job(request: web.Request) -> web.StreamResponse:
    """The job's progress as it happens; ends with the job."""
    job, lines = await _find(request)
    with request.app[HUB].watch(NO_DEVICE, session_of(request)) as subscription:
        async with sse.EventStream(request) as stream:
            shown = ""
            while not subscription.closed:
                text = request.app[PAGES].render("_bulk_job.html", job_context(job, lines))
                if text != shown:
                    shown = text
                    await stream.send(text)
                else:
                    await stream.send("", "alive")
                if job.state != "running":
                    await stream.send("", "decided")
                    break
                await subscription.next(BEAT_S)
                if subscription.revoked:
                    await stream.send("", "gone")
                    break
                job, lines = await _find(request)
        return stream.response


async def download(request: web.Request) -> web.Response:
    """The result of every line as CSV, without Product Keys."""
    job, lines = await _find(request)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["line", "product_id", "result", "reason"])
    writer.writerows([line.line, line.product_id, line.result.value, TEXTS[line.result]] for line in lines)
    name = f"smartconnect-{job.job_id[:8]}.csv"
    return web.Response(
        text=out.getvalue(),
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@web.middleware
async def _longer_lists(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A list may be longer than other forms."""
    if request.method == "POST" and request.path == "/add/bulk":
        request = request.clone(client_max_size=MAX_LIST_BYTES)
    return await handler(request)


async def _working(app: web.Application) -> AsyncIterator[None]:
    pending_ms = app[SETTINGS].pending_days * DAY_MS
    mode = ManifestMode(app[SETTINGS].manifest)
    app[BULK] = BulkClaims(app[POOL], app[LABEL_KEYS], pending_ms=pending_ms, mode=mode)
    async with app[BULK].run():
        yield


def add_routes(app: web.Application) -> None:
    """Register these views, and the work behind them."""
    app.middlewares.insert(0, _longer_lists)
    app.cleanup_ctx.append(_working)
    app.router.add_get("/add/bulk", show_form)
    app.router.add_post("/add/bulk", submit)
    job = "/add/bulk/{job_id:[0-9a-f-]{36}}"
    app.router.add_get(job, show_job)
    app.router.add_get(job + "/live", stream_job, allow_head=False)
    app.router.add_get(job + "/result.csv", download)
