"""What people arrange about notifications: policies, channels, windows, tests, acknowledgements.

Everything takes the acting person; what is changed needs the right NOTIFY. RefusedError: field_invalid names
the field, not_found what the company has not, too_many_open a bound. Each change lets the jobs process look
again at once.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.language import gettext
from cloud.core.notice import Topic
from cloud.core.notice_plan import Key
from cloud.core.notice_policy import DAY_MIN, MAX_DELAY_S, MAX_ESCALATE_S, Scope
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.notify import apprise_process
from cloud.notify.webhook import ChannelError, check_url
from cloud.postgres import alarms, notice_policies, notices, outbox, sites
from cloud.postgres.alarms import Standing
from cloud.postgres.notice_policies import ChannelRow, PolicyRow, Reader, Target, WindowRow
from cloud.postgres.notices import Delivery, LogLine
from cloud.postgres.pool import Pool
from cloud.postgres.sites import Site, Sited
from cloud.postgres.transaction import Connection, Result, in_transaction
from cloud.services.channels import new_secret, seal_channel
from cloud.services.kit import Kit
from cloud.services.notice_letters import TEST, letter
from cloud.services.noticing import ROLES, give_first_policy
from cloud.services.profile import time_zones

NAME_MAX_CHARS: Final = 60
REASON_MAX_CHARS: Final = 200
MOST_POLICIES: Final = 100
MOST_CHANNELS: Final = 30
MOST_WINDOWS: Final = 100
MAX_WINDOW_MS: Final = 30 * 86_400_000
MIN_ESCALATE_S: Final = 60
TESTS_APART_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Board:
    """All there is to arrange, and what it may be about."""

    policies: list[PolicyRow]
    targets: dict[int, list[Target]]
    channels: list[ChannelRow]
    windows: list[WindowRow]
    sites: list[Site]
    devices: list[Sited]
    readers: list[Reader]


async def look(pool: Pool, actor: Actor, now_ms: int) -> Board:
    """Everything; a company that has never looked is given its first policy."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> Board:
        company_id = actor.company_id
        if not await notice_policies.is_known(connection, company_id):
            await alarms.wake(connection, [company_id], now_ms)
            await give_first_policy(connection, company_id)
        policies = await notice_policies.policies(connection, company_id)
        return Board(
            policies=policies,
            targets=await notice_policies.targets(connection, [row.policy_id for row in policies]),
            channels=await notice_policies.channels(connection, company_id),
            windows=await notice_policies.windows(connection, company_id, now_ms),
            sites=await sites.sites(connection, company_id),
            devices=await sites.devices(connection, company_id),
            readers=await notice_policies.readers(connection, company_id),
        )

    return await in_transaction(pool, work)


async def change(
    pool: Pool, actor: Actor, now_ms: int, work: Callable[[Connection], Awaitable[Result]]
) -> Result:
    """A change by somebody who may, after which everything is looked at again."""
    actor.must(Action.NOTIFY)

    async def whole(connection: Connection) -> Result:
        await alarms.wake(connection, [actor.company_id], now_ms)
        await give_first_policy(connection, actor.company_id)
        return await work(connection)

    return await in_transaction(pool, whole)


# --- policies -----------------------------------------------------------------------------------------------


async def save_policy(
    pool: Pool, actor: Actor, row: PolicyRow, targets: Sequence[Target], now_ms: int
) -> int:
    """Write a new policy (number 0) or all of an old one; its number."""
    checked = _checked(row, targets)

    async def work(connection: Connection) -> int:
        company_id = actor.company_id
        scope_id, epoch = await _area(connection, company_id, row.scope, row.scope_id)
        found = replace(checked, scope_id=scope_id, scope_epoch=epoch)
        await _must_be_ours(connection, company_id, targets)
        policy_id = row.policy_id
        if policy_id:
            if not await notice_policies.update_policy(connection, company_id, found):
                raise RefusedError(RefusalCode.NOT_FOUND)
        else:
            if len(await notice_policies.policies(connection, company_id)) >= MOST_POLICIES:
                raise RefusedError(RefusalCode.TOO_MANY_OPEN)
            policy_id = await notice_policies.insert_policy(connection, company_id, found, now_ms)
        await notice_policies.set_targets(connection, policy_id, targets)
        return policy_id

    return await change(pool, actor, now_ms, work)


def _checked(row: PolicyRow, targets: Sequence[Target]) -> PolicyRow:
    name = line("name", row.name, NAME_MAX_CHARS)
    topics = sorted({topic for topic in row.topics if topic in set(Topic)})
    if not topics or len(topics) != len(set(row.topics)):
        raise invalid("topics", gettext("Choose at least one kind of event."))
    if not 0 <= row.delay_s <= MAX_DELAY_S:
        raise invalid("delay_s", gettext("The delay is 0 to {most} seconds.", most=MAX_DELAY_S))
    after_s = row.escalate_after_s
    if after_s is not None and not MIN_ESCALATE_S <= after_s <= MAX_ESCALATE_S:
        raise invalid("escalate_after_s", gettext("Escalation comes after 1 minute to 24 hours."))
    if not any(one.step == 0 for one in targets):
        raise invalid("targets", gettext("Choose at least one person, group or channel."))
    if (after_s is None) == any(one.step == 1 for one in targets):
        raise invalid(
            "escalate_after_s", gettext("An escalation needs both: a time, and somebody to tell then.")
        )
    quiet = (row.quiet_from_min, row.quiet_until_min)
    if (quiet[0] is None) != (quiet[1] is None) or (quiet[0] is not None and quiet[0] == quiet[1]):
        raise invalid("quiet_from_min", gettext("Quiet hours need a beginning and another end."))
    if any(minute is not None and not 0 <= minute < DAY_MIN for minute in quiet):
        raise invalid("quiet_from_min", gettext("A time of day is 00:00 to 23:59."))
    if row.quiet_zone not in time_zones():
        raise invalid("quiet_zone", gettext("Choose a time zone of the list."))
    return replace(row, name=name, topics=topics)


async def _area(connection: Connection, company_id: int, scope: str, scope_id: int) -> tuple[int, int]:
    """Number and epoch of what a policy or window is about. RefusedError where the company has none such."""
    if scope == Scope.COMPANY:
        return 0, 0
    if scope == Scope.SITE:
        if all(site.site_id != scope_id for site in await sites.sites(connection, company_id)):
            raise invalid("scope", gettext("Choose one of the company’s sites."))
        return scope_id, 0
    for device in await sites.devices(connection, company_id):
        if device.device_id == scope_id:
            return scope_id, device.epoch
    raise invalid("scope", gettext("Choose one of the company’s devices."))


async def _must_be_ours(connection: Connection, company_id: int, targets: Sequence[Target]) -> None:
    people = {str(one.account_id) for one in await notice_policies.readers(connection, company_id)}
    ours = {
        "role": set(ROLES),
        "account": people,
        "channel": {str(one.channel_id) for one in await notice_policies.channels(connection, company_id)},
    }
    if any(one.target not in ours.get(one.kind, set()) or one.step not in {0, 1} for one in targets):
        raise invalid("targets", gettext("Somebody of these is not there any more. Please choose again."))


async def remove_policy(pool: Pool, actor: Actor, policy_id: int, now_ms: int) -> None:
    """Nobody is told anything by it any more."""

    async def work(connection: Connection) -> None:
        if not await notice_policies.end_policy(connection, actor.company_id, policy_id, now_ms):
            raise RefusedError(RefusalCode.NOT_FOUND)

    await change(pool, actor, now_ms, work)


async def subscribe(pool: Pool, actor: Actor, policy_id: int, *, wanted: bool, now_ms: int) -> None:
    """Whether the acting person gets the mails of a policy; everybody may decide that for themselves."""

    async def work(connection: Connection) -> None:
        rows = await notice_policies.policies(connection, actor.company_id)
        if all(row.policy_id != policy_id for row in rows):
            raise RefusedError(RefusalCode.NOT_FOUND)
        if wanted:
            await notice_policies.opt_in(connection, policy_id, actor.account_id)
        else:
            await notice_policies.opt_out(connection, policy_id, actor.account_id, now_ms)

    await in_transaction(pool, work)


# --- channels -----------------------------------------------------------------------------------------------


async def add_channel(
    kit: Kit, actor: Actor, kind: str, name: str, address: str, *, private: bool, now_ms: int
) -> tuple[int, str]:
    """A webhook, or a service by its apprise address: its number, and a webhook's secret, shown once."""
    actor.must(Action.NOTIFY)
    name = line("name", name, NAME_MAX_CHARS)
    address = address.strip()
    if kind == "webhook":
        try:
            shown = check_url(address, private=private)
        except ValueError as error:
            raise invalid("address", gettext(str(error))) from None
        secret = new_secret()
    elif kind == "apprise":
        try:
            shown = f"{await apprise_process.check(address)} by apprise"
        except ChannelError as error:
            text = gettext(str(error))
            raise invalid("address", f"{text[:1].upper()}{text[1:]}.") from None
        secret = ""
    else:
        raise invalid("kind", gettext("A channel is a webhook, or an apprise address."))

    async def work(connection: Connection) -> int:
        if len(await notice_policies.channels(connection, actor.company_id)) >= MOST_CHANNELS:
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        made = await notice_policies.insert_channel(connection, actor.company_id, kind, name, shown, now_ms)
        sealed = seal_channel(kit.vault, made, address, secret)
        await notice_policies.seal_channel(connection, made, sealed)
        return made

    return await change(kit.pool, actor, now_ms, work), secret


async def remove_channel(pool: Pool, actor: Actor, channel_id: int, now_ms: int) -> None:
    """Nothing is sent there any more."""

    async def work(connection: Connection) -> None:
        if not await notice_policies.end_channel(connection, actor.company_id, channel_id, now_ms):
            raise RefusedError(RefusalCode.NOT_FOUND)

    await change(pool, actor, now_ms, work)


async def send_test(kit: Kit, actor: Actor, channel_id: int | None, now_ms: int) -> int:
    """A test to a channel, or by mail to the acting person; the number of its delivery in the log."""

    async def work(connection: Connection) -> int:
        company_id = actor.company_id
        if channel_id is not None:
            channels = await notice_policies.channels(connection, company_id)
            if all(one.channel_id != channel_id for one in channels):
                raise RefusedError(RefusalCode.NOT_FOUND)
        recent = await notices.log_of(connection, company_id)
        if any(
            one.items[0].get("say") == TEST and one.created_ms > now_ms - TESTS_APART_MS for one in recent
        ):
            raise RefusedError(RefusalCode.TOO_FAST, after_s=TESTS_APART_MS // 1000)
        items = [{"say": TEST}]
        notice_id = await notices.insert(
            connection, company_id, None, site_id=0, step=0, items=items, now_ms=now_ms
        )
        if channel_id is not None:
            return await notices.insert_delivery(
                connection, notice_id, company_id, now_ms=now_ms, channel_id=channel_id
            )
        people = await notice_policies.readers(connection, company_id)
        reader = next((one for one in people if one.account_id == actor.account_id), None)
        if reader is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        made = await notices.insert_delivery(
            connection,
            notice_id,
            company_id,
            now_ms=now_ms,
            account_id=reader.account_id,
            sent_to=reader.email,
        )
        delivery = Delivery(
            *(made, notice_id, company_id, None, 0, reader.account_id),
            channel_id=None,
            site="",
            notice_ms=now_ms,
            tries=0,
            items=items,
        )
        await outbox.put(connection, letter(kit, delivery, reader))
        return made

    return await change(kit.pool, actor, now_ms, work)


async def read_log(pool: Pool, actor: Actor, before_id: int | None = None) -> list[LogLine]:
    """What was sent, newest first."""
    actor.must(Action.SEE)
    async with pool.connection() as connection:
        return await notices.log_of(connection, actor.company_id, before_id)


# --- windows ------------------------------------------------------------------------------------------------


async def add_window(pool: Pool, actor: Actor, row: WindowRow, now_ms: int) -> int:
    """Plan work on devices; its number."""
    reason = line("reason", row.reason, REASON_MAX_CHARS)
    if row.until_ms <= max(row.from_ms, now_ms):
        raise invalid("until", gettext("The end lies ahead, after the beginning."))
    if row.until_ms - row.from_ms > MAX_WINDOW_MS:
        raise invalid("until", gettext("A window lasts 30 days at most."))

    async def work(connection: Connection) -> int:
        scope_id, epoch = await _area(connection, actor.company_id, row.scope, row.scope_id)
        if len(await notice_policies.windows(connection, actor.company_id, now_ms)) >= MOST_WINDOWS:
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        wanted = replace(row, reason=reason, scope_id=scope_id, scope_epoch=epoch)
        return await notice_policies.insert_window(
            connection, actor.company_id, actor.account_id, wanted, now_ms
        )

    return await change(pool, actor, now_ms, work)


async def mutes(pool: Pool, actor: Actor, device_id: int, epoch: int, now_ms: int) -> list[WindowRow]:
    """What keeps people from being told about a device now: windows of it and of the whole company."""
    actor.must(Action.SEE)
    async with pool.connection() as connection:
        planned = await notice_policies.windows(connection, actor.company_id, now_ms)
    mine = ((Scope.COMPANY, 0, 0), (Scope.DEVICE, device_id, epoch))
    return [row for row in planned if row.from_ms <= now_ms and _area_of(row) in mine]


def _area_of(row: WindowRow) -> tuple[str, int, int]:
    return (row.scope, 0, 0) if row.scope == Scope.COMPANY else (row.scope, row.scope_id, row.scope_epoch)


async def end_window(pool: Pool, actor: Actor, window_id: int, now_ms: int) -> None:
    """The work is done."""

    async def work(connection: Connection) -> None:
        if not await notice_policies.end_window(connection, actor.company_id, window_id, now_ms):
            raise RefusedError(RefusalCode.NOT_FOUND)

    await change(pool, actor, now_ms, work)


# --- alarms -------------------------------------------------------------------------------------------------


async def standing(pool: Pool, actor: Actor, device_id: int | None = None) -> list[Standing]:
    """What stands now on the company's devices, or on one."""
    actor.must(Action.SEE)
    async with pool.connection() as connection:
        return await alarms.standing(connection, actor.company_id, device_id)


async def acknowledge(pool: Pool, actor: Actor, keys: Sequence[Key], reason: str, now_ms: int) -> int:
    """Say that somebody looks after these alarms, and why; how many of them still stand."""
    reason = line("reason", reason, REASON_MAX_CHARS)
    if not keys:
        raise invalid("alarms", gettext("Choose at least one alarm."))

    async def work(connection: Connection) -> int:
        done = 0
        for key in sorted(set(keys)):
            done += await alarms.acknowledge(
                connection, actor.company_id, key, actor.account_id, reason, now_ms
            )
        return done

    return await change(pool, actor, now_ms, work)


def invalid(field: str, text: str) -> RefusedError:
    """What is wrong with a field."""
    return RefusedError(RefusalCode.FIELD_INVALID, text=text, field=field)


def line(field: str, text: str, limit: int) -> str:
    """A short text of a person. RefusedError where it is empty, too long, or cannot be shown."""
    value = " ".join(text.split())
    if not value:
        raise invalid(field, gettext("Please say something here."))
    if len(value) > limit or not value.isprintable():
        text = gettext("Please use {limit} characters at most, and only ones that can be shown.", limit=limit)
        raise invalid(field, text)
    return value
