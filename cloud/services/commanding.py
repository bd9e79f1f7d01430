"""Commands: asked for by a person, checked, signed, stored; ended when their time is over.

A request is one transaction of one device: everything is checked under the device's lock against what the
database says at that moment, the log-in's rights too. What is missing comes back as
:class:`CommandRefusedError`, all steps at once, and nothing is written. A request that is repeated with its
``command_id`` is answered with the command it made before.

The command key stays with whoever runs :class:`Commander`: portal and jobs. The gateway gets signed bytes.
"""

from dataclasses import dataclass

import structlog

from cloud.core.authz import ALLOWED, Action, Actor, Role
from cloud.core.command import (
    RATE_MS,
    Circumstances,
    Group,
    GroupState,
    Order,
    State,
    Step,
    group_state,
    groups_of,
    missing_steps,
    state_at,
)
from cloud.core.device import Device, MatterKind
from cloud.core.device_state import Condition, DeviceView, condition_of
from cloud.core.second_factor import is_fresh
from cloud.postgres import claims, commands, devices
from cloud.postgres.accounts import Session
from cloud.postgres.commands import CommandRow, NewCommand, Rights
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.provision import Signer
from cloud.services.naming import UnknownDeviceError
from protocol.commands import MAX_LIFE_MS
from protocol.messages import Command
from protocol.signing import seal_control

AT_ONCE = 200

log = structlog.get_logger()


class CommandRefusedError(Exception):
    """The command was not made; ``missing`` says why, the first step is what to do next."""

    def __init__(self, missing: tuple[Step, ...]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


class UnknownCommandError(Exception):
    """There is no such command of this ownership."""


@dataclass(frozen=True, slots=True)
class Commander:
    """Where commands are stored, and the key that signs them."""

    pool: Pool
    signer: Signer


@dataclass(frozen=True, slots=True)
class Outlet:
    """An outlet group as it stands."""

    group: Group
    name: str
    state: GroupState


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a command would meet now. ``missing``: all but the typed name; ``outlet``: what it switches."""

    view: DeviceView
    outlet: Outlet | None
    missing: tuple[Step, ...]


# --- asking -------------------------------------------------------------------------------------------------


async def request(
    commander: Commander, session: Session, device_id: int, order: Order, command_id: str, now_ms: int
) -> CommandRow:
    """Make a command of this name. CommandRefusedError, UnknownDeviceError, DatabaseUnavailableError."""

    async def work(connection: Connection) -> CommandRow:
        if not await claims.lock_known(connection, device_id):
            raise UnknownDeviceError
        view, now = await _as_seen_by(connection, session, device_id, now_ms)
        before = await commands.find(connection, device_id, view.epoch, command_id)
        if before is not None:
            return before
        missing = missing_steps(order, now)
        if missing:
            raise CommandRefusedError(missing)
        who = Actor(session.account_id, session.company_id, session.role)
        await make(commander.signer, connection, who, view, order, command_id, now_ms)
        made = await commands.find(connection, device_id, view.epoch, command_id)
        if made is None:
            raise AssertionError("it was just written")
        return made

    made = await in_transaction(
        commander.pool, work, before_commit="command.request.before", after_commit="command.request.after"
    )
    log.info(
        "command requested",
        device_id=device_id,
        command_id=command_id,
        kind=order.kind,
        account_id=session.account_id,
    )
    return made


async def foresee(pool: Pool, session: Session, device_id: int, order: Order, now_ms: int) -> Outlook:
    """What a command would meet; nothing is written. UnknownDeviceError."""

    async def work(connection: Connection) -> Outlook:
        view, now = await _as_seen_by(connection, session, device_id, now_ms)
        outlet = next((one for one in outlets_of(view) if one.group is order.group), None)
        return Outlook(view, outlet, missing_steps(order, now))

    return await in_transaction(pool, work)


async def make(
    signer: Signer,
    connection: Connection,
    who: Actor,
    view: DeviceView,
    order: Order,
    command_id: str,
    now_ms: int,
) -> None:
    """Sign and store a command; the caller holds the device's row and has found no step missing."""
    counter = await commands.take_counter(connection, view.device_id, now_ms)
    command = Command(
        command_id=command_id,
        kid=view.kid,
        epoch=view.epoch,
        counter=counter,
        issued_ms=now_ms,
        expires_ms=now_ms + MAX_LIFE_MS,
        kind=order.kind.value,
        arguments=dict(order.arguments),
    )
    await commands.insert(
        connection,
        NewCommand(
            device_id=view.device_id,
            command_id=command_id,
            epoch=command.epoch,
            kid=command.kid,
            counter=counter,
            kind=command.kind,
            arguments=command.arguments,
            sealed=seal_control(command, signer.key_id, signer.key),
            company_id=who.company_id,
            account_id=who.account_id,
            issued_ms=command.issued_ms,
            expires_ms=command.expires_ms,
        ),
    )
    await claims.audit(
        connection,
        view.device_id,
        "command",
        now_ms,
        epoch=view.epoch,
        company_id=who.company_id,
        account_id=who.account_id,
        kid=view.kid,
        command_id=command_id,
        command=command.kind,
        **{name: str(value) for name, value in command.arguments.items()},
    )
    await claims.tell(connection, view.device_id)


async def _as_seen_by(
    connection: Connection, session: Session, device_id: int, now_ms: int
) -> tuple[DeviceView, Circumstances]:
    rights = await commands.rights(connection, session.session_hash, session.account_id, session.company_id)
    return await circumstances(connection, rights, session.company_id, device_id, now_ms)


async def circumstances(
    connection: Connection, rights: Rights | None, company_id: int, device_id: int, now_ms: int
) -> tuple[DeviceView, Circumstances]:
    """All that a command of this company depends on; without ``rights`` its role lets one look only.

    UnknownDeviceError.
    """
    rights = rights or Rights(Role.VIEWER, two_factor=False, factor_ms=None)
    view = await devices.load_view(connection, company_id, device_id)
    if view is None:
        raise UnknownDeviceError
    lately = await commands.lately(connection, device_id, view.epoch, now_ms - RATE_MS, now_ms)
    device = await claims.load(connection, device_id)
    return view, _judged(view, device, rights, lately, now_ms)


def _judged(
    view: DeviceView, device: Device, rights: Rights, lately: commands.Lately, now_ms: int
) -> Circumstances:
    condition = condition_of(view, now_ms)
    return Circumstances(
        role_allows=rights.role in ALLOWED[Action.CONTROL],
        two_factor=rights.two_factor,
        fresh=is_fresh(rights.factor_ms, now_ms),
        releasing=device.open(MatterKind.RELEASE) is not None,
        clone_suspected=device.open(MatterKind.CLONE) is not None,
        smartconnect=view.smartconnect,
        online=condition is not Condition.OFFLINE,
        answering=condition not in {Condition.SILENT, Condition.STARTING},
        groups={one.group: one.name for one in outlets_of(view)},
        on_battery=view.on_battery,
        fault=view.faulty,
        outlet_under_way=lately.outlet_under_way,
        lately=lately.count,
    )


# --- looking ------------------------------------------------------------------------------------------------


def outlets_of(view: DeviceView) -> list[Outlet]:
    """The outlet groups of a UPS, as its newest values have them."""
    found = []
    for group, name in groups_of(view.bits, view.settings).items():
        state = group_state(view.bits[f"{group}_outlet_status"])
        if state is not None:
            found.append(Outlet(group, name, state))
    return found


async def history(
    pool: Pool, actor: Actor, device_id: int, limit: int = commands.MAX_ROWS
) -> list[CommandRow]:
    """The commands of the actor's ownership, newest first. UnknownDeviceError."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> list[CommandRow]:
        view = await devices.load_view(connection, actor.company_id, device_id)
        if view is None:
            raise UnknownDeviceError
        return await commands.newest(connection, device_id, view.epoch, limit)

    return await in_transaction(pool, work)


async def look(pool: Pool, actor: Actor, device_id: int, command_id: str) -> CommandRow:
    """One command of the actor's ownership. UnknownDeviceError, UnknownCommandError."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> CommandRow:
        view = await devices.load_view(connection, actor.company_id, device_id)
        if view is None:
            raise UnknownDeviceError
        row = await commands.find(connection, device_id, view.epoch, command_id)
        if row is None:
            raise UnknownCommandError
        return row

    return await in_transaction(pool, work)


def state_of(row: CommandRow, now_ms: int) -> State:
    """How far it came, also where nobody has written down yet that its time is over."""
    return state_at(State(row.state), row.due_ms, now_ms)


# --- time ---------------------------------------------------------------------------------------------------


async def sweep(pool: Pool, now_ms: int) -> int:
    """End the commands whose time is over, device by device; how many there were."""

    async def find(connection: Connection) -> list[int]:
        return await commands.overdue(connection, now_ms, AT_ONCE)

    return sum([await _pass_time(pool, device_id, now_ms) for device_id in await in_transaction(pool, find)])


async def _pass_time(pool: Pool, device_id: int, now_ms: int) -> int:
    async def work(connection: Connection) -> int:
        return await commands.end_overdue(connection, device_id, now_ms)

    return await in_transaction(
        pool, work, before_commit="command.end.before", after_commit="command.end.after"
    )
