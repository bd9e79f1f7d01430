"""Rules of a company: made, changed, switched off, deleted by its people.

Numbers come as people type them, in the unit that the subject is shown in (runtime in minutes); a program
sends the same. Everything raises NotAllowedError, RefusedError (not_found, field_invalid with the field's
name, too_many_open) and DatabaseUnavailableError.
"""

from datetime import UTC, date, datetime
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.language import gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.rule import SUBJECTS
from cloud.core.rule_draft import Draft, condition_of
from cloud.postgres import accounts, claims, rules, sites
from cloud.postgres.pool import Pool
from cloud.postgres.rules import Deed, Listed, NewRule, RaisedOn
from cloud.postgres.sites import Site
from cloud.postgres.transaction import Connection, in_transaction

MAX_RULES: Final = 100
"""Per company: every new sample of every device is judged by all that cover it."""
LATELY_MS: Final = 30 * 86_400_000
DAY_MS: Final = 86_400_000
BEFORE: Final = "rules.change.before"
AFTER: Final = "rules.change.after"


# --- what a company sees ------------------------------------------------------------------------------------


async def list_rules(pool: Pool, actor: Actor) -> list[Listed]:
    """All rules of the actor's company."""
    actor.must(Action.SEE)
    return await rules.list_rules(pool, actor.company_id)


async def find(pool: Pool, actor: Actor, rule_id: int) -> Listed:
    """One of them. RefusedError not_found."""
    actor.must(Action.SEE)
    found = await rules.list_rules(pool, actor.company_id, rule_id)
    if not found:
        raise RefusedError(RefusalCode.NOT_FOUND)
    return found[0]


async def lately(
    pool: Pool, actor: Actor, now_ms: int, *, limit: int, rule_id: int | None = None
) -> list[Deed]:
    """What the rules, or one, did in the last 30 days, newest first."""
    actor.must(Action.SEE)
    return await rules.deeds(
        pool, actor.company_id, since_ms=now_ms - LATELY_MS, limit=limit, rule_id=rule_id
    )


async def raised_on(pool: Pool, actor: Actor, rule_id: int, limit: int) -> list[RaisedOn]:
    """Where a rule is raised now."""
    actor.must(Action.SEE)
    return await rules.raised_on(pool, actor.company_id, rule_id, limit)


async def of_device(pool: Pool, actor: Actor, device_id: int, epoch: int) -> list[Listed]:
    """The rules that are about a device of the company, in this ownership."""
    site_ids = await rules.sites_of(pool, actor.company_id, device_id)
    return [
        one
        for one in await list_rules(pool, actor)
        if one.rule.covers(actor.company_id, site_ids, device_id, epoch)
    ]


async def list_sites(pool: Pool, actor: Actor) -> list[Site]:
    """The sites of the company, by name."""
    actor.must(Action.SEE)
    async with pool.connection() as connection:
        return await sites.sites(connection, actor.company_id)


async def battery_day(pool: Pool, actor: Actor, device_id: int) -> str:
    """When a device's battery was put in, ``YYYY-MM-DD``; empty where nobody said so."""
    actor.must(Action.SEE)
    installed_ms = await rules.battery_installed_ms(pool, actor.company_id, device_id)
    return "" if installed_ms is None else f"{datetime.fromtimestamp(installed_ms / 1000, UTC):%Y-%m-%d}"


# --- changes ------------------------------------------------------------------------------------------------


async def make(
    pool: Pool,
    actor: Actor,
    draft: Draft,
    now_ms: int,
    *,
    device_id: int | None = None,
    site_id: int | None = None,
) -> int:
    """Make a rule for one device, or for those at a site, or for all of the company; its number."""
    actor.must(Action.RULES)
    name, says = condition_of(draft, now_ms)

    async def work(connection: Connection) -> int:
        scope, scope_id, epoch = "company", actor.company_id, 0
        if device_id is not None:
            found = await rules.epoch_of(connection, actor.company_id, device_id)
            if found is None:
                raise RefusedError(RefusalCode.NOT_FOUND)
            scope, scope_id, epoch = "device", device_id, found
        elif site_id is not None:
            if not await rules.has_site(connection, actor.company_id, site_id):
                raise RefusedError(RefusalCode.NOT_FOUND)
            scope, scope_id = "site", site_id
        if await rules.count(connection, actor.company_id) >= MAX_RULES:
            text = gettext("A company has {count} rules at most. Please delete one first.", count=MAX_RULES)
            raise RefusedError(RefusalCode.TOO_MANY_OPEN, text=text)
        new = NewRule(
            company_id=actor.company_id,
            account_id=actor.account_id,
            scope=scope,
            scope_id=scope_id,
            epoch=epoch,
            name=name,
            condition=says,
        )
        rule_id = await rules.insert(connection, new)
        await _audit(connection, "rule_made", actor, rule_id, now_ms)
        return rule_id

    return await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)


async def change(pool: Pool, actor: Actor, rule_id: int, draft: Draft, now_ms: int) -> None:
    """Let a rule say something else, from now on; where it was raised, that ends."""
    actor.must(Action.RULES)
    name, says = condition_of(draft, now_ms)

    async def work(connection: Connection) -> None:
        if not await rules.change(connection, actor.company_id, rule_id, actor.account_id, name, says):
            raise RefusedError(RefusalCode.NOT_FOUND)
        await _audit(connection, "rule_changed", actor, rule_id, now_ms)

    await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)


async def switch(pool: Pool, actor: Actor, rule_id: int, now_ms: int, *, enabled: bool) -> None:
    """Switch a rule on or off; where it was raised, that ends."""
    actor.must(Action.RULES)

    async def work(connection: Connection) -> None:
        if not await rules.switch(
            connection, actor.company_id, rule_id, actor.account_id, now_ms, enabled=enabled
        ):
            raise RefusedError(RefusalCode.NOT_FOUND)
        kind = "rule_switched_on" if enabled else "rule_switched_off"
        await _audit(connection, kind, actor, rule_id, now_ms)

    await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)


async def delete(pool: Pool, actor: Actor, rule_id: int, now_ms: int) -> None:
    """Delete a rule; where it was raised, that ends. What it did stays in the devices' events."""
    actor.must(Action.RULES)

    async def work(connection: Connection) -> None:
        if not await rules.end(connection, actor.company_id, rule_id, actor.account_id, now_ms):
            raise RefusedError(RefusalCode.NOT_FOUND)
        await _audit(connection, "rule_deleted", actor, rule_id, now_ms)

    await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)


async def set_battery(pool: Pool, actor: Actor, device_id: int, installed: str, now_ms: int) -> None:
    """Say when a device's battery was put in: ``YYYY-MM-DD``, not in the future."""
    actor.must(Action.RULES)
    try:
        day = date.fromisoformat(installed)
    except ValueError:
        raise _fault("installed", gettext("Please enter the date as YYYY-MM-DD.")) from None
    installed_ms = round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    if not 0 < installed_ms <= now_ms + DAY_MS:
        raise _fault("installed", gettext("Please enter a date from 1970 to today."))

    async def work(connection: Connection) -> None:
        await claims.lock_known(connection, device_id)
        epoch = await rules.epoch_of(connection, actor.company_id, device_id)
        if epoch is None:
            raise RefusedError(RefusalCode.NOT_FOUND)
        await rules.set_battery(connection, device_id, epoch, installed_ms, actor.account_id, now_ms)

    await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)


async def _audit(connection: Connection, kind: str, actor: Actor, rule_id: int, now_ms: int) -> None:
    await accounts.record(
        connection,
        kind,
        now_ms=now_ms,
        account_id=actor.account_id,
        company_id=actor.company_id,
        detail={"rule_id": rule_id},
    )


# --- what was typed -----------------------------------------------------------------------------------------


def draft_of(listed: Listed) -> Draft:
    """A rule as it is typed."""
    says = listed.rule.condition
    factor = SUBJECTS[says.subject].factor
    return Draft(
        name=listed.rule.name,
        subject=says.subject,
        side=says.side.value,
        threshold=says.threshold / factor,
        hysteresis=says.hysteresis / factor,
        hold_s=says.hold_ms // 1000,
        clear_s=says.clear_ms // 1000,
        gap_s=says.gap_ms // 1000,
    )


def _fault(field: str, text: str) -> RefusedError:
    return RefusedError(RefusalCode.FIELD_INVALID, text=text, field=field)
