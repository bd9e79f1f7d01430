"""The company's devices for Prometheus. docs/api.md has a scrape configuration."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from cloud.core.api_token import Scope
from cloud.core.exposition import CONTENT_TYPE, Exposition
from cloud.services import exposing
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms, session_of

SECTION: Final = Section(
    "Metrics", "For Prometheus: the newest values of all devices.", reads=Scope.METRICS_READ
)
RUNNING: Final = web.AppKey("scrapes_running", Counter[int])
MAX_OF_COMPANY: Final = 2
"""Scrapes at once: what two Prometheus servers need. A further one waits."""
RETRY_AFTER_S: Final = 1


@SECTION.operation(
    "GET", "/metrics", answer=str, media=[CONTENT_TYPE.partition(";")[0]], problems=[ProblemCode.TOO_MANY]
)
async def show_metrics(request: web.Request) -> web.StreamResponse:
    """Prometheus metrics of the company's devices.

    Silent devices tell `smartconnect_ups_up 0`, and none of their old values.
    """
    company_id = session_of(request).company_id
    with _place(request.app[RUNNING], company_id):
        exposition = Exposition()
        async for page in exposing.told(request.app[POOL], actor_of(request), now_ms()):
            for told in page:
                exposition.add(told)
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        response.enable_compression()
        await response.prepare(request)
        for part in exposition.parts():
            await response.write(part.encode())
        await response.write_eof()
    return response


@contextmanager
def _place(running: Counter[int], company_id: int) -> Iterator[None]:
    """One of the scrapes that may run at once. Problem (too_many)."""
    if running[company_id] >= MAX_OF_COMPANY:
        raise Problem(ProblemCode.TOO_MANY, retry_after_s=RETRY_AFTER_S)
    running[company_id] += 1
    try:
        yield
    finally:
        running[company_id] -= 1
        if not running[company_id]:
            del running[company_id]


def prepare(app: web.Application) -> None:
    """What counts the running ones."""
    app[RUNNING] = Counter()
