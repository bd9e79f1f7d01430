"""The one way from typed product codes to a claim, for pages and API: with its limits, from whose address."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from aiohttp import web

from cloud.core.language import gettext
from cloud.core.limits import ACCOUNT, NETWORK
from cloud.core.manifest import ManifestMode
from cloud.core.proof_of_work import PUZZLES
from cloud.services import limits, robot_check
from cloud.services.claim_view import ClaimView
from cloud.services.derivation import BusyError
from cloud.services.limits import Paces, TooManyOpenError
from cloud.web import robot_form
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, LABEL_KEYS, POOL, SETTINGS, actor_of, now_ms
from protocol.identity import ProductId, ProductKey

DAY_MS: Final = 86_400_000


async def submit(
    request: web.Request, product_id: ProductId, product_key: ProductKey, form: Mapping[str, str]
) -> ClaimView:
    """Claim for the log-in's company; ``form`` may say that this is no robot.

    Problem (too_many, busy), WorkNeededError, RefusedError robot_check, robot_wait.
    """
    app, at_ms = request.app, now_ms()
    settings = app[SETTINGS]

    async def check_work(bits: int) -> None:
        await robot_form.check(request, form, at_ms, bits=bits)

    try:
        return await limits.claim(
            app[POOL],
            app[LABEL_KEYS],
            actor_of(request),
            product_id,
            product_key,
            address=request.remote or "",
            now_ms=at_ms,
            pending_ms=settings.pending_days * DAY_MS,
            mode=ManifestMode(settings.manifest),
            check_work=check_work if robot_form.is_answered(form) else None,
            paces=Paces(
                replace(ACCOUNT, free=settings.free_claims_account),
                replace(NETWORK, free=settings.free_claims_address),
            ),
        )
    except BusyError as busy:
        raise Problem(ProblemCode.BUSY, retry_after_s=busy.retry_after_s) from None
    except TooManyOpenError as many:
        text = gettext(
            "Many of your claims still wait for their devices. Nothing is locked: please try again later."
        )
        raise Problem(ProblemCode.TOO_MANY, detail=text, retry_after_s=many.after_s) from None


def work(request: web.Request, bits: int) -> dict[str, object]:
    """A challenge of so many bits, as programs get it."""
    challenge = robot_check.challenge(request.app[KIT], now_ms(), bits=bits)
    return {"challenge": challenge, "bits": bits, "puzzles": PUZZLES}
