"""A company that asks all its members for a second factor.

An owner or administrator who has one turns it on with ``require`` and off with ``lift``. Members without one
have a time of grace, counted from then or from joining, and see when it ends on every page. After it they are
let in only to set one up (``Session.factor_due_ms``; the portal's middleware does it): requests are answered
with ``factor_required``, open live pages end. NotAllowedError; RefusedError factor_off where who asks has no
second factor, fresh_needed, field_invalid.
"""

from dataclasses import dataclass
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.language import gettext, speaking
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, factor_rules, outbox
from cloud.postgres import companies as company_rows
from cloud.postgres.accounts import Session
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.factor_rules import FactorRule
from cloud.services import letters, second_factor
from cloud.services.companies import audit, role_now
from cloud.services.kit import Kit

DAY_MS: Final = 86_400_000
GRACE_DAYS: Final = (0, 1, 7, 14, 30)
"""What can be chosen; 0 asks for it at once."""
USUAL_GRACE_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Policy:
    """Whether a company requires it, since when, and how many members still have none."""

    since_ms: int | None
    grace_days: int
    without: int

    @property
    def required(self) -> bool:
        """Whether it does."""
        return self.since_ms is not None


async def read(kit: Kit, actor: Actor) -> Policy:
    """As it is; every member may know it."""
    actor.must(Action.SEE)
    async with kit.pool.connection() as connection:
        rule = await factor_rules.find(connection, actor.company_id)
        people = await company_rows.members(connection, actor.company_id)
    without = sum(not one.two_factor for one in people)
    return Policy(rule.since_ms, rule.grace_ms // DAY_MS, without)


@crossing(Reason.MEMBERSHIP)
async def require(kit: Kit, session: Session, *, grace_days: int, fresh: bool, now_ms: int) -> None:
    """From now on all members need one. Said again it changes the grace, and not since when."""
    if grace_days not in GRACE_DAYS:
        text = gettext("Please choose how long members have for it.")
        raise RefusedError(RefusalCode.FIELD_INVALID, field="grace_days", text=text)
    actor = Actor(session.account_id, session.company_id, session.role)
    async with kit.pool.connection() as connection, connection.transaction():
        await role_now(connection, actor, Action.MEMBERS)
        people = await company_rows.members(connection, actor.company_id)
        if not any(one.two_factor for one in people if one.account_id == actor.account_id):
            text = gettext("Please turn on Two-Factor Authentication for your own account first.")
            raise RefusedError(RefusalCode.FACTOR_OFF, text=text)
        second_factor.must_be_fresh(fresh)
        before = await factor_rules.find(connection, actor.company_id)
        since_ms = now_ms if before.since_ms is None else before.since_ms
        await factor_rules.put(connection, actor.company_id, FactorRule(since_ms, grace_days * DAY_MS))
        await audit(connection, "factor_required", actor, now_ms, grace_days=grace_days)
        if before.since_ms is None:
            for one in people:
                if not one.two_factor:
                    due_ms = now_ms + grace_days * DAY_MS
                    with speaking(await accounts.language_of(connection, one.account_id)):
                        letter = letters.factor_required(
                            kit, one.email, session.company_name, due_ms, now_ms, one.account_id
                        )
                    await outbox.put(connection, letter)


@crossing(Reason.MEMBERSHIP)
async def lift(kit: Kit, session: Session, *, fresh: bool, now_ms: int) -> None:
    """Each member decides again."""
    actor = Actor(session.account_id, session.company_id, session.role)
    async with kit.pool.connection() as connection, connection.transaction():
        await role_now(connection, actor, Action.MEMBERS)
        second_factor.must_be_fresh(fresh)
        before = await factor_rules.find(connection, actor.company_id)
        if before.since_ms is not None:
            await factor_rules.put(connection, actor.company_id, FactorRule(None, 0))
            await audit(connection, "factor_not_required", actor, now_ms)
