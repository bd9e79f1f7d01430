"""Adding many devices at once: the list, the job's progress as it happens, and its result as CSV."""

import csv
import io
import time
import uuid
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.bulk import MAX_ROWS, ROWS_PER_S, YOURS, Result, TooManyRowsError
from cloud.core.language import N_, gettext
from cloud.core.manifest import ManifestMode
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.services import bulk_claiming
from cloud.services.bulk_claiming import BulkClaims, Progress
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
JOBS: Final = 5
"""Lists of before, on the page of the form."""
NO_DEVICE: Final = 0
"""Watched for the log-in's sake only: the stream ends with its rights."""
DAY_MS: Final = 86_400_000

TEXTS: Final = {
    Result.OPEN: N_("Not checked yet"),
    Result.WON: N_("Yours"),
    Result.ALREADY_YOURS: N_("Yours already"),
    Result.WAITING: N_("Waiting for the device: check the codes, the network cable, and SmartConnect"),
    Result.SMARTCONNECT_OFF: N_("SmartConnect is not enabled on the device: please enable it"),
    Result.SEVERAL_KEYS: N_(
        "Several devices announce themselves with this label: pick one by its fingerprint"
    ),
    Result.OWNED_ELSEWHERE: N_("Already associated with another account"),
    Result.EXPIRED: N_("Nothing was heard from the device in time"),
    Result.CANCELLED: N_("You stopped waiting for this device"),
    Result.NO_CODES: N_("The line does not hold a Product ID and a Product Key"),
    Result.PRODUCT_ID_INVALID: N_("The Product ID must have 12 letters and digits"),
    Result.PRODUCT_KEY_INVALID: N_("The Product Key must have 14 letters and digits"),
    Result.REPEATED: N_("The same codes stand in a line above"),
    Result.NOT_ALLOWED: N_("Whoever gave this list may no longer register devices"),
    Result.INTERRUPTED: N_("Not checked, because the portal was restarted: please give this line again"),
}


async def show_form(request: web.Request) -> web.Response:
    """The form for a list."""
    actor_of(request).must(Action.CLAIM)
    return await _form(request)


async def _form(request: web.Request, fault: str = "", status: int = 200) -> web.Response:
    jobs = await bulk_claiming.newest(request.app[POOL], actor_of(request), JOBS)
    context = {"jobs": jobs, "fault": fault, "max_rows": MAX_ROWS, "rows_per_s": round(ROWS_PER_S)}
    return page(request, "bulk.html", context, status=status)


async def submit(request: web.Request) -> web.Response:
    """Take a list. Its Product Keys are never shown again, nor stored."""
    form = await request.post()
    text = "\n".join(map(str, form.getall("list", [])))  # a list, or labels of a photo that were picked
    try:
        job_id = await request.app[BULK].submit(actor_of(request), text, now_ms())
    except TooManyRowsError:
        return await _form(request, gettext("A list has {count} lines at most.", count=MAX_ROWS), 422)
    except RefusedError as refusal:
        return await _form(request, str(refusal), 429 if refusal.code is RefusalCode.TOO_MANY_OPEN else 422)
    return see_other(f"/add/bulk/{job_id}")


def name_of(text: str) -> str:
    """The name of a job. Problem (not_found)."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Problem(ProblemCode.NOT_FOUND) from None


async def _find(request: web.Request) -> Progress:
    job_id = name_of(request.match_info["job_id"])
    found = await bulk_claiming.look(request.app[POOL], actor_of(request), job_id, lines=SHOWN)
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return found


def job_context(found: Progress) -> dict[str, object]:
    """What the templates of a job need to know. Lines that need somebody's attention stand first."""
    job, counts = found.job, found.counts
    listed = sum(count for result, count in counts.items() if result not in YOURS | {Result.OPEN})
    return {
        "job": job,
        "running": job.state == "running",
        "checked": job.rows - counts.get(Result.OPEN, 0),
        "counts": [(gettext(TEXTS[result]), counts[result]) for result in Result if result in counts],
        "lines": [(line, gettext(TEXTS[line.result])) for line in found.lines],
        "hidden": max(0, listed - len(found.lines)),
    }


async def show_job(request: web.Request) -> web.Response:
    """How far a job has come; live where JavaScript runs, else reloaded by hand."""
    return page(request, "bulk_job.html", job_context(await _find(request)))


async def stream_job(request: web.Request) -> web.StreamResponse:
    """The job's progress as it happens, read once a beat whatever else wakes it; ends with the job."""
    found, read_s = await _find(request), time.monotonic()
    with request.app[HUB].watch(NO_DEVICE, session_of(request)) as subscription:
        async with sse.EventStream(request) as stream:
            shown = ""
            while not subscription.closed:
                text = request.app[PAGES].render("_bulk_job.html", job_context(found))
                if text != shown:
                    shown = text
                    await stream.send(text)
                else:
                    await stream.send("", "alive")
                if found.job.state != "running":
                    await stream.send("", "decided")
                    break
                while not subscription.closed and (left_s := read_s + BEAT_S - time.monotonic()) > 0:
                    await subscription.next(left_s)
                if not subscription.closed:
                    found, read_s = await _find(request), time.monotonic()
            if subscription.revoked:
                await stream.send("", "gone")
        return stream.response


async def download(request: web.Request) -> web.Response:
    """The result of every line as CSV, without Product Keys."""
    job_id = name_of(request.match_info["job_id"])
    lines = await bulk_claiming.read_lines(request.app[POOL], actor_of(request), job_id)
    if lines is None:
        raise Problem(ProblemCode.NOT_FOUND)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["line", "product_id", "result", "reason"])
    writer.writerows(
        [line.line, line.product_id, line.result.value, gettext(TEXTS[line.result])] for line in lines
    )
    name = f"smartconnect-{job_id[:8]}.csv"
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
