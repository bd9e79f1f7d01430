"""One act on an owned device: its transaction, its refusals, its fault points."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud.core.authz import Action, Actor, NotAllowedError
from cloud.core.claim import decide
from cloud.core.device import Device, State
from cloud.core.inputs import IllegalTransitionError, Input
from cloud.postgres import claims, closing
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.carrying import NOBODY, By, carry_out

Done = Callable[[Connection, Device], Awaitable[bool]]


class OwningCode(StrEnum):
    """Why an act was refused. Stable; append only."""

    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_OFFER = "unknown_offer"
    FACTOR_NEEDED = "factor_needed"
    STOLEN = "stolen"
    CLONE_SUSPECTED = "clone_suspected"
    RELEASING = "releasing"
    NOTHING_OPEN = "nothing_open"
    OFFER_FOR_ANOTHER = "offer_for_another"
    OWN_DEVICE = "own_device"


_HOLDS: Final = {
    State.STOLEN: OwningCode.STOLEN,
    State.CLONE_SUSPECTED: OwningCode.CLONE_SUSPECTED,
    State.RELEASING: OwningCode.RELEASING,
}


class OwningError(Exception):
    """The act was refused and changed nothing."""

    def __init__(self, code: OwningCode) -> None:
        super().__init__(code.value)
        self.code = code


@dataclass(frozen=True, slots=True)
class Points:
    """Fault points around the commit of an act."""

    before: str
    after: str

    @classmethod
    def named(cls, act: str) -> "Points":
        """Those of an act that has its own."""
        return cls(f"owning.{act}.before", f"owning.{act}.after")


RELEASE: Final = Points.named("release")
TRANSFER: Final = Points.named("transfer")
REKEY: Final = Points.named("rekey")
OTHER: Final = Points.named("other")


# --- one transaction ----------------------------------------------------------------------------------------


def need_fresh(fresh: bool) -> None:
    """OwningError factor_needed unless the person has just confirmed to be it."""
    if not fresh:
        raise OwningError(OwningCode.FACTOR_NEEDED)


async def must_be_open(connection: Connection, actor: Actor) -> None:
    """NotAllowedError where the actor's company is being closed; the device's row is held already."""
    if not await closing.is_open(connection, actor.company_id):
        raise NotAllowedError(Action.CLAIM, actor.role)


def foreign(device: Device, actor: Actor) -> bool:
    """Whether the device is not that of the actor's company, or nobody's."""
    return device.owner is None or device.owner.company_id != actor.company_id


async def own(
    pool: Pool,
    actor: Actor,
    device_id: int,
    what: Input,
    now_ms: int,
    points: Points = OTHER,
    *,
    done: Done | None = None,
) -> Device:
    """An act of the owner."""
    return await act(
        pool,
        device_id,
        what,
        now_ms,
        points,
        lambda device: not foreign(device, actor),
        By.of(actor),
        done,
    )


@crossing(Reason.OWNERSHIP)
async def act(
    pool: Pool,
    device_id: int,
    what: Input,
    now_ms: int,
    points: Points,
    may: Callable[[Device], bool] | None = None,
    by: By = NOBODY,
    done: Done | None = None,
    taker: Actor | None = None,
) -> Device:
    """Decide and carry out; ``may`` says whether the device is known to who asks.

    ``taker`` is whose company may get the device by it: NotAllowedError where that is being closed. ``done``
    says of a refused act whether an earlier request has done it: a repeated one is answered alike.
    """

    async def work(connection: Connection) -> Device:
        if not await claims.lock_known(connection, device_id):
            raise OwningError(OwningCode.UNKNOWN_DEVICE)
        if taker is not None:
            await must_be_open(connection, taker)
        try:
            return await decide_and_carry(connection, device_id, what, now_ms, may, by)
        except OwningError:
            device = await claims.load(connection, device_id)
            if done is None or not await done(connection, device):
                raise
            return device

    return await in_transaction(pool, work, before_commit=points.before, after_commit=points.after)


async def decide_and_carry(
    connection: Connection,
    device_id: int,
    what: Input,
    now_ms: int,
    may: Callable[[Device], bool] | None,
    by: By,
    link: str = "",
) -> Device:
    """The device after ``what``, in the caller's transaction, which holds the device's lock.

    OwningError: unknown_device where ``may`` denies it, else why the device's state does not allow it.
    """
    device = await claims.load(connection, device_id)
    if may is not None and not may(device):
        raise OwningError(OwningCode.UNKNOWN_DEVICE)
    try:
        after, effects = decide(device, what, now_ms)
    except IllegalTransitionError as error:
        raise OwningError(_HOLDS.get(error.state, OwningCode.NOTHING_OPEN)) from error
    await carry_out(connection, device_id, device, effects, now_ms, by=by, link=link)
    return after
