"""Claims for programs.

=======  =============================  ====================================================================
POST     ``/api/v1/claims``             ``{product_id, product_key}``: 200 yours, 202 waits, 409 somebody
                                        else's, 422 no such codes, 429 come again after ``Retry-After``
GET      ``/api/v1/claims/{id}``        200 with its state; 404 where the company has no such claim
POST     ``/api/v1/claims/{id}/pick``   ``{kid}``: of several keys that announce, this one
DELETE   ``/api/v1/claims/{id}``        stop waiting; a claim that was decided meanwhile stays
=======  =============================  ====================================================================

``429`` comes in two kinds. ``too_many`` and ``busy``: come again after ``Retry-After``. ``work_needed``: the
account or its address has many open claims; the problem holds ``challenge``, ``bits`` and ``puzzles``, and
the same request is sent again with ``robot``, the solution (see :mod:`cloud.core.proof_of_work`).

An unknown Product ID, a wrong Product Key and a device nobody has seen have one answer: 202,
``waiting_for_device``. The Product Key travels in the body only, and is forgotten when the public label key
has been derived from it.
"""

import json
from http import HTTPStatus
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.services import claiming
from cloud.services.claim_view import ClaimView, ViewState
from cloud.services.limits import WorkNeededError
from cloud.web import claim_entry
from cloud.web.middleware import takes_codes
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import json_response
from cloud.web.state import POOL, actor_of, now_ms
from protocol.errors import IdentityError
from protocol.identity import ProductId, ProductKey

MAX_BODY_BYTES: Final = 4096


@takes_codes
async def submit(request: web.Request) -> web.Response:
    """Claim a device by the codes of its label."""
    actor = actor_of(request)
    actor.must(Action.CLAIM)
    typed = await _object(request)
    try:
        product_id = ProductId.parse(_text(typed, "product_id"))
        product_key = ProductKey.parse(_text(typed, "product_key"))
    except IdentityError as error:
        raise Problem(ProblemCode.CODES_INVALID, detail=str(error)) from None
    solution = typed.get("robot", "")
    try:
        view = await claim_entry.submit(
            request, product_id, product_key, solution if isinstance(solution, str) else ""
        )
    except WorkNeededError as asked:
        work = claim_entry.work(request, asked.bits)
        raise Problem(ProblemCode.WORK_NEEDED, retry_after_s=0, more=work) from None
    status = (
        HTTPStatus.OK
        if view.state is ViewState.WON
        else HTTPStatus.CONFLICT
        if view.state is ViewState.REFUSED
        else HTTPStatus.ACCEPTED
    )
    return json_response(as_json(view), status=status)


async def show(request: web.Request) -> web.Response:
    """Where a claim stands."""
    try:
        view = await claiming.view(
            request.app[POOL], actor_of(request), claim_id=request.match_info["claim_id"], now_ms=now_ms()
        )
    except claiming.UnknownClaimError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    return json_response(as_json(view))


async def pick(request: web.Request) -> web.Response:
    """Choose one of several keys by its fingerprint."""
    kid = _text(await _object(request), "kid")
    try:
        view = await claiming.pick(
            request.app[POOL], actor_of(request), request.match_info["claim_id"], kid, now_ms()
        )
    except claiming.UnknownClaimError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    except claiming.UnknownKeyError:
        raise Problem(ProblemCode.CODES_INVALID, detail="No such key announces for this device.") from None
    return json_response(as_json(view))


async def cancel(request: web.Request) -> web.Response:
    """Stop waiting for a device."""
    try:
        view = await claiming.cancel(
            request.app[POOL], actor_of(request), request.match_info["claim_id"], now_ms()
        )
    except claiming.UnknownClaimError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    return json_response(as_json(view))


def as_json(view: ClaimView) -> dict[str, object]:
    """A claim as programs get it. ``device_id`` is text: it has 63 bits."""
    return {
        "claim_id": view.claim_id,
        "device_id": str(view.device_id),
        "product_id": view.product_id,
        "state": view.state.value,
        "reason": view.reason,
        "keys": [
            {
                "kid": key.kid,
                "fingerprint": key.fingerprint,
                "smartconnect": key.smartconnect,
                "announced_ms": key.announced_ms,
            }
            for key in view.keys
        ],
        "picked_kid": view.picked_kid,
        "created_ms": view.created_ms,
        "expires_ms": view.expires_ms,
        "decided_ms": view.decided_ms,
        "epoch": view.epoch,
    }


def add_routes(app: web.Application) -> None:
    """Register these handlers."""
    app.router.add_post("/api/v1/claims", submit)
    app.router.add_get("/api/v1/claims/{claim_id}", show)
    app.router.add_post("/api/v1/claims/{claim_id}/pick", pick)
    app.router.add_delete("/api/v1/claims/{claim_id}", cancel)


async def _object(request: web.Request) -> dict[str, object]:
    """The JSON object in the body; nothing of it is ever quoted back."""
    body = await request.read()  # bounded by the application's client_max_size
    if len(body) > MAX_BODY_BYTES:
        raise Problem(ProblemCode.TOO_LARGE)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(ProblemCode.BAD_REQUEST, detail="The body is a JSON object.")
    return found


def _text(typed: dict[str, object], name: str) -> str:
    value = typed.get(name)
    if not isinstance(value, str):
        raise Problem(ProblemCode.BAD_REQUEST, detail=f"{name} is a text.")
    return value
