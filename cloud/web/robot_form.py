"""The box "I am not a robot" of a form: its ticket for browsers without JavaScript, and both checks."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.core import proof_of_work
from cloud.core.refusal import RefusedError
from cloud.services import robot_check, slow_lane
from cloud.services.slow_lane import WaitError
from cloud.web.state import KIT, now_ms

SOLUTION: Final = "robot"
TICKET: Final = "slow"
TICKED: Final = "human"
BITS: Final = "bits"
MAX_BITS_CHARS: Final = 2


def bits_of(text: str) -> int:
    """How much work a form or a script asks for, within bounds; whether it is enough, the check decides."""
    bits = int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_BITS_CHARS else 0
    return min(max(bits, proof_of_work.BITS), proof_of_work.MAX_BITS)


def is_answered(form: Mapping[str, str]) -> bool:
    """Whether the form says anything about robots."""
    return bool(form.get(SOLUTION)) or form.get(TICKED) == "yes"


async def check(
    request: web.Request, form: Mapping[str, str], at_ms: int, *, bits: int = proof_of_work.BITS
) -> None:
    """Spend the work that a script has done; without a script, the ticket. RefusedError (field ``robot``)."""
    kit = request.app[KIT]
    if form.get(SOLUTION) or form.get(TICKED) != "yes":
        await robot_check.check(kit, form.get(SOLUTION, ""), at_ms, bits=bits)
    else:
        await slow_lane.check(kit, form.get(TICKET, ""), request.remote or "", at_ms)


def context(
    request: web.Request, form: Mapping[str, str] | None = None, refusal: RefusedError | None = None
) -> dict[str, str]:
    """What the template of the box needs: the ticket that its form carries on, and whether it is ticked."""
    sent = form or {}
    if isinstance(refusal, WaitError):
        carried = refusal.ticket
    else:
        carried = slow_lane.ticket(request.app[KIT], now_ms(), sent.get(TICKET, ""))
    return {TICKET: carried, TICKED: sent.get(TICKED, "")}
