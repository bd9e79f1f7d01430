"""Claims of many devices at once: a job that goes through a list slowly and says what became of each line.

Product Keys are secrets, and none is ever stored: they stay in the memory of the process that took the list,
and the database holds the lines' numbers, Product IDs and results. Should that process end, the job's lease
runs out and any other one marks the lines that were left as interrupted. Giving the same list again is
harmless: what is yours stays yours, what waits goes on waiting (docs/decisions/0007-bulk-codes-in-memory.md).
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from cloud import background
from cloud.core.authz import Action, Actor, NotAllowedError, Role
from cloud.core.bulk import MAX_OPEN, ROWS_PER_S, Result, Row, parse
from cloud.core.device import Refusal
from cloud.core.language import gettext
from cloud.core.manifest import ManifestMode
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import bulk, companies
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.bulk import Job, Line
from cloud.postgres.claims import DeviceMismatchError
from cloud.postgres.pool import Pool
from cloud.postgres.safety import UNAVAILABLE
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import claiming
from cloud.services.acting import must_be_open
from cloud.services.claim_view import ALREADY_YOURS, ClaimView, ViewState
from cloud.services.derivation import BusyError, LabelKeys
from protocol.identity import ProductId, ProductKey

MAX_JOBS: Final = 50
"""Lists one process keeps in memory."""
MAX_JOBS_OF_COMPANY: Final = 3
"""Of these one company's, so that none takes every place."""
SAVE_S: Final = 1.0
SWEEP_S: Final = 10.0

Found = TypeVar("Found")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that was stored."""

    job_id: str


@dataclass(slots=True)
class _Work:
    """A list in memory."""

    job_id: str
    actor: Actor
    rows: list[Row]


class BulkClaims:
    """The jobs of one process; use it from one event loop, inside ``run``."""

    def __init__(
        self,
        pool: Pool,
        label_keys: LabelKeys,
        *,
        pending_ms: int,
        mode: ManifestMode = ManifestMode.NONE,
        rows_per_s: float = ROWS_PER_S,
    ) -> None:
        self._pool = pool
        self._label_keys = label_keys
        self._pending_ms = pending_ms
        self._mode = mode
        self._pause_s = 1.0 / rows_per_s
        self._queues: dict[int, list[_Work]] = {}
        self._entering: Counter[int] = Counter()
        self._news = asyncio.Event()

    async def submit(self, actor: Actor, text: str, now_ms: int) -> str:
        """Begin a job with this list; its name. NotAllowedError, TooManyRowsError, RefusedError."""
        actor.must(Action.CLAIM)
        rows = parse(text)
        if not rows:
            text = gettext("There are no product codes in this list.")
            raise RefusedError(RefusalCode.FIELD_INVALID, text=text)
        job_id = str(uuid.uuid4())

        async def work(connection: Connection) -> Begun:
            await bulk.lock_company(connection, actor.company_id)
            await must_be_open(connection, actor)
            count = await bulk.count_open(connection, actor.company_id, now_ms)
            if count + sum(row.fault is None for row in rows) > MAX_OPEN:
                text = gettext(
                    "{count} claims of your company wait for their devices; with this list there would"
                    " be more than {most}. Please wait until some are done.",
                    count=count,
                    most=MAX_OPEN,
                )
                raise RefusedError(RefusalCode.TOO_MANY_OPEN, text=text)
            await bulk.insert(connection, job_id, actor.company_id, actor.account_id, rows, now_ms)
            return Begun(job_id)

        with self._place(actor.company_id):
            await in_transaction(self._pool, work)
            left = [row for row in rows if row.fault is None]
            self._queues.setdefault(actor.company_id, []).append(_Work(job_id, actor, left))
        self._news.set()
        return job_id

    @contextlib.contextmanager
    def _place(self, company_id: int) -> Iterator[None]:
        """A place for one more list, from before it is stored until it is in its queue. RefusedError."""
        of_company = len(self._queues.get(company_id, ())) + self._entering[company_id]
        of_all = sum(map(len, self._queues.values())) + self._entering.total()
        if of_company >= MAX_JOBS_OF_COMPANY or of_all >= MAX_JOBS:
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        self._entering[company_id] += 1
        try:
            yield
        finally:
            self._entering[company_id] -= 1
            if not self._entering[company_id]:
                del self._entering[company_id]

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Work on the jobs while the block runs; what is left at its end is marked as interrupted."""
        try:
            async with background.running({"bulk claims": self._serve(), "bulk sweep": self._sweep()}):
                yield
        finally:
            for queue in self._queues.values():
                for work in queue:
                    with contextlib.suppress(*UNAVAILABLE):
                        await self._interrupt(work.job_id)

    @crossing(Reason.UPKEEP)
    async def _serve(self) -> None:
        """A task for each company that has jobs."""
        tasks: dict[int, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                for company_id in [one for one in self._queues if one not in tasks or tasks[one].done()]:
                    tasks[company_id] = group.create_task(self._work_off(company_id))
                await self._news.wait()

    async def _work_off(self, company_id: int) -> None:
        queue = self._queues[company_id]
        while queue:
            await self._work(queue[0])
            queue.pop(0)
        del self._queues[company_id]

    async def _work(self, work: _Work) -> None:
        """Go through one list; lines leave the memory as they are done."""
        done: list[Line] = []
        saved_s = next_s = time.monotonic()
        actor: Actor | None = await self._refresh(work)
        while work.rows:
            row = work.rows[0]
            line = await self._claim(actor, row) if actor else Line(row.line, _id(row), Result.NOT_ALLOWED)
            if line is None:  # not now: the database is away, or others come first
                await asyncio.sleep(SAVE_S)
                continue
            done.append(line)
            del work.rows[0]
            if time.monotonic() - saved_s >= SAVE_S:
                if not await self._save(work.job_id, done):
                    return
                done, saved_s = [], time.monotonic()
                actor = await self._refresh(work)
            next_s = max(next_s + self._pause_s, time.monotonic() - SAVE_S)
            if actor is not None:
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))
        if await self._save(work.job_id, done):
            await self._patiently(lambda connection: bulk.finish(connection, work.job_id, _now_ms()))

    async def _claim(self, actor: Actor, row: Row) -> Line | None:
        """Claim the device of one line; None where it must be tried again."""
        product_id, product_key = row.product_id, row.product_key
        if product_id is None or product_key is None:
            raise ValueError("only lines with codes are claimed")
        try:
            label_pub = await self._derive(product_id, product_key)
            view = await claiming.submit(
                self._pool,
                actor,
                product_id,
                label_pub,
                _now_ms(),
                pending_ms=self._pending_ms,
                mode=self._mode,
            )
        except (BusyError, *UNAVAILABLE):
            return None
        except NotAllowedError:  # the company is being closed
            return Line(row.line, product_id.value, Result.NOT_ALLOWED)
        except DeviceMismatchError as error:
            log.error("a device that cannot be", reason=str(error))  # noqa: TRY400 - an alarm
            return Line(row.line, product_id.value, Result.WAITING)
        return Line(row.line, product_id.value, result_of(view), view.claim_id)

    async def _derive(self, product_id: ProductId, product_key: ProductKey) -> bytes:
        return await self._label_keys.label_pub(product_id, product_key, bulk=True)

    async def _refresh(self, work: _Work) -> Actor | None:
        """Whoever gave the list, as they are now; None once they may no longer claim."""
        wanted = work.actor

        async def look(connection: Connection) -> Role | None:
            return await companies.role_of(connection, wanted.company_id, wanted.account_id)

        role = await self._patiently(look)
        actor = Actor(wanted.account_id, wanted.company_id, role) if role else None
        return actor if actor and actor.may(Action.CLAIM) else None

    async def _save(self, job_id: str, lines: Sequence[Line]) -> bool:
        return await self._patiently(lambda connection: bulk.save(connection, job_id, lines, _now_ms()))

    async def _interrupt(self, job_id: str) -> None:
        await in_transaction(self._pool, lambda connection: bulk.interrupt(connection, job_id, _now_ms()))

    async def _patiently(self, work: Callable[[Connection], Awaitable[Found]]) -> Found:
        """A transaction that waits for the database as long as it takes."""
        while True:
            try:
                return await in_transaction(self._pool, work)
            except UNAVAILABLE as error:
                log.warning("a bulk claim waits for the database", error=str(error))
                await asyncio.sleep(SAVE_S)

    @crossing(Reason.UPKEEP)
    async def _sweep(self) -> None:
        """End the jobs of processes that have gone, and forget old ones."""
        while True:
            with contextlib.suppress(*UNAVAILABLE):
                await in_transaction(self._pool, _tidy)
            await asyncio.sleep(SWEEP_S)


async def _tidy(connection: Connection) -> None:
    await bulk.interrupt(connection, None, _now_ms())
    await bulk.forget(connection, _now_ms())


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come, and the first of its checked lines whose devices are not the company's."""

    job: Job
    counts: Mapping[Result, int]
    lines: Sequence[Line]


async def look(pool: Pool, actor: Actor, job_id: str, *, lines: int = 0) -> Progress | None:
    """A job of the actor's company and so many lines; None where the company has no such job."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> Progress | None:
        job = await bulk.find(connection, actor.company_id, job_id)
        if job is None:
            return None
        counts = await bulk.count_results(connection, job_id)
        return Progress(
            job, counts, await bulk.find_lines_not_owned(connection, job_id, lines) if lines else []
        )

    return await in_transaction(pool, work)


async def newest(pool: Pool, actor: Actor, limit: int) -> list[Job]:
    """The lists of the actor's company, newest first."""
    actor.must(Action.SEE)
    return await in_transaction(pool, lambda connection: bulk.newest(connection, actor.company_id, limit))


async def read_lines(
    pool: Pool,
    actor: Actor,
    job_id: str,
    *,
    after: int = 0,
    limit: int | None = None,
    result: Result | None = None,
) -> list[Line] | None:
    """Lines of a job of the actor's company behind this one; None where the company has no such job."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> list[Line] | None:
        if await bulk.find(connection, actor.company_id, job_id) is None:
            return None
        return await bulk.find_lines(connection, job_id, after=after, limit=limit, result=result)

    return await in_transaction(pool, work)


def result_of(view: ClaimView) -> Result:
    """A claim's view as the result of a line."""
    if view.state is ViewState.WON:
        return Result.ALREADY_YOURS if view.reason == ALREADY_YOURS else Result.WON
    if view.state is ViewState.REFUSED and view.reason == Refusal.OWNED_ELSEWHERE:
        return Result.OWNED_ELSEWHERE
    return Result(view.state.value)


def _id(row: Row) -> str:
    return row.product_id.value if row.product_id else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
