"""What pages show of a device's ownership, and the problems its acts may meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from cloud.core.device import Device, Matter, MatterKind, State
from cloud.services import owning
from cloud.services.acting import OwningCode, OwningError
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms
from protocol.identity import fingerprint_of

PROBLEMS: Final[Mapping[OwningCode, ProblemCode]] = {
    OwningCode.UNKNOWN_DEVICE: ProblemCode.NOT_FOUND,
    OwningCode.UNKNOWN_OFFER: ProblemCode.UNKNOWN_OFFER,
    OwningCode.FACTOR_NEEDED: ProblemCode.FACTOR_NEEDED,
    OwningCode.STOLEN: ProblemCode.STOLEN,
    OwningCode.CLONE_SUSPECTED: ProblemCode.CLONE_SUSPECTED,
    OwningCode.RELEASING: ProblemCode.RELEASING,
    OwningCode.NOTHING_OPEN: ProblemCode.NOTHING_OPEN,
    OwningCode.OFFER_FOR_ANOTHER: ProblemCode.OFFER_FOR_ANOTHER,
    OwningCode.OWN_DEVICE: ProblemCode.OWN_DEVICE,
}


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key that asks to be the device's."""

    kid: str
    fingerprint: str
    opened_ms: int


def facts_for_pages(device: Device) -> dict[str, object]:
    """What templates show of a device's ownership."""

    def one(kind: MatterKind) -> Matter | None:
        return device.open(kind)

    return {
        "state": device.state.value,
        "frozen": device.state in {State.STOLEN, State.CLONE_SUSPECTED},
        "releasing": one(MatterKind.RELEASE),
        "offer": one(MatterKind.OFFER),
        "stolen": one(MatterKind.STOLEN),
        "clone": one(MatterKind.CLONE),
        "second_hand": one(MatterKind.SECOND_HAND),
        "disputes": device.all_open(MatterKind.DISPUTE),
        "keys": [
            KeyRequest(matter.subject, fingerprint_of(matter.subject), matter.opened_ms)
            for matter in device.all_open(MatterKind.REKEY)
        ],
    }


async def look(request: web.Request, device_id: int) -> dict[str, object]:
    """The ownership of a device, for a page of it. Problem."""
    try:
        device = await owning.look(request.app[POOL], actor_of(request), device_id, now_ms())
    except OwningError as error:
        raise Problem(PROBLEMS[error.code]) from None
    return facts_for_pages(device)
