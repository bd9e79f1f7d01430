"""Claims of many devices at once: a list becomes a job, and every line gets its result.

Product Keys of a list are in the memory of the portal that took it, and nowhere else
(docs/decisions/0007-bulk-codes-in-memory.md): should that portal end, the lines that are left say
``interrupted``, and the list is given again under a new key. Repeating a list is harmless.
"""

from http import HTTPStatus
from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.bulk import MAX_ROWS, ROWS_PER_S, Result, TooManyRowsError
from cloud.services import bulk_claiming
from cloud.services.bulk_claiming import Begun
from cloud.web.api import once
from cloud.web.api.kinds import Ms
from cloud.web.api.operation import Section, json_of
from cloud.web.bulk_views import BULK, MAX_LIST_BYTES, name_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms

SECTION: Final = Section(
    "Bulk claims",
    f"Up to {MAX_ROWS} devices a list, {ROWS_PER_S:.0f} a second.",
    reads=Scope.CLAIMS,
    writes=Scope.CLAIMS,
)
PAGE: Final = 1000
JOBS: Final = 50

JobId = Annotated[str, Meta(max_length=64, description="Name of a job.")]


class CodeList(Struct):
    """The list: a device a line, Product ID and Product Key parted by comma, semicolon, tab or blank."""

    list: Annotated[str, Meta(description="As pasted or from a CSV file; a heading is skipped.")]


class JobBegun(Struct):
    """The job of a list."""

    job_id: str


class BulkJob(Struct):
    """How far a job has come."""

    job_id: str
    state: Literal["running", "done", "interrupted"]
    rows: int
    checked: int
    results: Annotated[dict[str, int], Meta(description="Result → how many lines.")]
    created_ms: Ms
    ended_ms: int | None


class BulkJobInList(Struct):
    """A job; ask for it by its name to learn how far it has come."""

    job_id: str
    state: Literal["running", "done", "interrupted"]
    rows: int
    created_ms: Ms
    ended_ms: int | None


class BulkJobs(Struct):
    """Jobs, newest first."""

    jobs: list[BulkJobInList]


class BulkLine(Struct):
    """A line and what became of it."""

    line: Annotated[int, Meta(description="Number in the list, from 1.")]
    product_id: Annotated[str, Meta(description="Empty where the line holds none.")]
    result: Result
    claim_id: str | None


class BulkLines(Struct):
    """Some lines of a job, in the list's order."""

    lines: list[BulkLine]
    next_after: Annotated[int | None, Meta(description="Give it as `after` for the next ones.")]


@SECTION.operation(
    "POST",
    "/bulk-claims",
    statuses={HTTPStatus.ACCEPTED: "The job has begun."},
    problems=[ProblemCode.FIELD_INVALID, ProblemCode.TOO_MANY, ProblemCode.FORBIDDEN],
    max_bytes=MAX_LIST_BYTES,
)
async def submit(request: web.Request, body: CodeList) -> JobBegun:
    """Claim the devices of a list."""

    def answer(begun: Begun) -> web.Response:
        return json_of(JobBegun(begun.job_id), HTTPStatus.ACCEPTED)

    doing = request.app[BULK].submit(actor_of(request), body.list, now_ms())
    try:
        return JobBegun(await once.done(request, Begun, answer, doing))
    except TooManyRowsError:
        faults = {"list": f"A list has {MAX_ROWS} lines at most."}
        raise Problem(ProblemCode.FIELD_INVALID, more={"faults": faults}) from None


@SECTION.operation("GET", "/bulk-claims")
async def list_jobs(request: web.Request) -> BulkJobs:
    """The newest 50 lists of your company; those that ended are kept for a while."""
    jobs = await bulk_claiming.newest(request.app[POOL], actor_of(request), JOBS)
    return BulkJobs(
        [
            BulkJobInList(one.job_id, one.state, one.rows, one.created_ms, one.ended_ms)  # type: ignore[arg-type]  # one of the three, as the table says
            for one in jobs
        ]
    )


@SECTION.operation("GET", "/bulk-claims/{job_id}")
async def show(request: web.Request, job_id: JobId) -> BulkJob:
    """How far a job has come."""
    found = await bulk_claiming.look(request.app[POOL], actor_of(request), name_of(job_id))
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    job, counts = found.job, found.counts
    return BulkJob(
        job_id=job.job_id,
        state=job.state,  # type: ignore[arg-type]  # one of the three, as the table says
        rows=job.rows,
        checked=job.rows - counts.get(Result.OPEN, 0),
        results={result.value: count for result, count in counts.items()},
        created_ms=job.created_ms,
        ended_ms=job.ended_ms,
    )


@SECTION.operation("GET", "/bulk-claims/{job_id}/lines")
async def list_lines(
    request: web.Request, job_id: JobId, after: int = 0, result: Result | None = None
) -> BulkLines:
    """What became of each line, as its claim stands now: 1000 at a time, perhaps of one result only."""
    lines = await bulk_claiming.read_lines(
        request.app[POOL], actor_of(request), name_of(job_id), after=after, limit=PAGE + 1, result=result
    )
    if lines is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return BulkLines(
        [BulkLine(one.line, one.product_id, one.result, one.claim_id) for one in lines[:PAGE]],
        lines[PAGE - 1].line if len(lines) > PAGE else None,
    )
