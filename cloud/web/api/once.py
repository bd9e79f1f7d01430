"""``Idempotency-Key``: a POST that may be sent again (draft-ietf-httpapi-idempotency-key-header).

The key is a string of structured fields (``"8e03978e-…"``, RFC 9651) or the same without quotation marks, of
1 to 255 printable characters. The same key with the same request gives the first answer again, marked with
``Idempotency-Replayed: true``; with another request ``idempotency_key_reused``; while the first one runs,
``idempotency_key_in_use``. Answers are kept for a day if the request was decided (``DECIDED``); what may turn
out otherwise when it is tried again (a missing factor, a limit, a fault of ours) is not.

Functions that change something through ``done`` have their answer stored in the transaction of the change.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

import structlog
from aiohttp import web

from cloud.postgres import witness
from cloud.postgres.safety import UNAVAILABLE
from cloud.postgres.witness import Connection
from cloud.services import idempotency
from cloud.services.idempotency import Kept, Run
from cloud.web.api.failures import translated
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import PROBLEM_TYPE, problem_response
from cloud.web.state import KIT, SETTINGS, now_ms, session_of

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
MAX_KEY_CHARS: Final = 255
DECIDED: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Statuses of problems that are kept; all that are no problem are."""

_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE: Final = re.compile(r"[\x21\x23-\x7e]+")
_RUN: Final = web.RequestKey("idempotency_run", Run)

Kind = TypeVar("Kind")
Result = TypeVar("Result")

log = structlog.get_logger()


def key_of(request: web.Request) -> str | None:
    """The key of a request; None without one. Problem bad_request."""
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    text = given[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text if _BARE.fullmatch(text) else ""
    if len(given) > 1 or not 1 <= len(key) <= MAX_KEY_CHARS:
        detail = f"{HEADER}: one string of 1 to {MAX_KEY_CHARS} printable characters."
        raise Problem(ProblemCode.BAD_REQUEST, detail=detail)
    return key


async def guarded(
    request: web.Request, sent: bytes, act: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What ``act`` answers, or what it answered when the request was sent before."""
    key = key_of(request)
    if key is None:
        return await act()
    kit, session = request.app[KIT], session_of(request)
    head = f"{request.method} {request.path_qs} {session.company_id}\n".encode()
    with translated(request.app[SETTINGS].brand):
        found = await idempotency.begin(kit, session.account_id, key, head + sent, now_ms())
    if isinstance(found, Kept):
        return _response(found, replayed=True)
    request[_RUN] = found
    try:
        response = await act()
    except Problem as problem:
        if problem.kind.status not in DECIDED or problem.code is ProblemCode.KEY_IN_USE:
            await _free(request, found)
            raise
        response = problem_response(request, problem)
    except Exception:
        await _free(request, found)
        raise
    if found.kept is not None:
        return _response(found.kept)
    await _finish(request, found, response)
    return response


async def done(
    request: web.Request,
    kind: type[Kind],
    answer: Callable[[Kind], web.Response],
    doing: Awaitable[Result],
) -> Result:
    """Await a service that changes something. ``answer`` makes the response of what its transaction returns,
    a ``kind``; with a key it is stored in that very transaction.
    """
    run = request.get(_RUN)
    if run is None:
        return await doing

    async def write(connection: Connection, result: object) -> None:
        if isinstance(result, kind):
            response = answer(result)
            await idempotency.finish_within(connection, run, response.status, _body(response))

    with witness.called(write):
        return await doing


def _response(kept: Kept, *, replayed: bool = False) -> web.Response:
    if not kept.answer:
        response = web.Response(status=kept.status)
    else:
        is_problem = kept.status >= HTTPStatus.BAD_REQUEST and b'"type": "urn:' in kept.answer[:20]
        kind = PROBLEM_TYPE if is_problem else "application/json"
        response = web.Response(body=kept.answer, content_type=kind, charset="utf-8", status=kept.status)
    if replayed:
        response.headers[REPLAYED] = "true"
    return response


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


async def _finish(request: web.Request, run: Run, response: web.StreamResponse) -> None:
    try:
        await idempotency.finish(request.app[KIT], run, response.status, _body(response))
    except (idempotency.KeyInUseError, *UNAVAILABLE) as error:
        # It is done and told; should it be sent again, the act decides what that means.
        log.warning("an answer could not be kept", error=str(error))


async def _free(request: web.Request, run: Run) -> None:
    with contextlib.suppress(*UNAVAILABLE):  # else its lease ends
        await idempotency.free(request.app[KIT], run)
