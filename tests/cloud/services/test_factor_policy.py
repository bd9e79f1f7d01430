"""A company that requires a second factor of all: who may ask for it, grace, what becomes of the others."""

import pytest

from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.refusal import RefusalCode
from cloud.postgres import accounts
from cloud.postgres.accounts import Session
from cloud.services import companies, factor_policy, second_factor
from cloud.services.accounts import Identity
from cloud.services.factor_policy import DAY_MS
from cloud.services.kit import Kit
from tests.support.commanding import turn_on_two_factor
from tests.support.kit import (
    add_person,
    audit_kinds,
    log_in,
    mailed_token,
    newest_letter,
    refusal_of,
    session_of,
)

NOW = 1_800_000_000_000
GRACE_MS = 7 * DAY_MS


async def again(kit: Kit, session: Session, now_ms: int) -> Session:
    """A log-in as a request finds it."""
    found = await session_of(kit, session.session_hash, now_ms)
    assert found is not None
    return found


@pytest.fixture
async def ada(kit: Kit) -> Session:
    """The owner of a company, with a second factor."""
    identity = await add_person(kit, "ada@example.org", NOW)
    await turn_on_two_factor(kit.pool, identity.account_id, NOW)
    return await log_in(kit, identity, NOW)


async def join(kit: Kit, ada: Session, email: str, role: Role, now_ms: int = NOW) -> Session:
    """Somebody without a second factor who belongs to ada's company."""
    actor = Actor(ada.account_id, ada.company_id, Role.OWNER)
    identity = await add_person(kit, email, now_ms, first_name="Eve")
    await companies.invite(kit, actor, email, role, now_ms)
    session = await log_in(kit, identity, now_ms)
    await companies.accept(kit, session, await mailed_token(kit.pool, email), now_ms)
    return await again(kit, session, now_ms)


async def require(
    kit: Kit, session: Session, grace_days: int = 7, *, fresh: bool = True, now_ms: int = NOW
) -> None:
    """Ask for it."""
    await factor_policy.require(kit, session, grace_days=grace_days, fresh=fresh, now_ms=now_ms)


async def test_only_a_head_with_a_factor_of_their_own_requires_it(kit: Kit, ada: Session) -> None:
    admin = await join(kit, ada, "eve@example.org", Role.ADMIN)
    operator = await join(kit, ada, "sam@example.org", Role.OPERATOR)
    with pytest.raises(NotAllowedError):
        await require(kit, operator)
    with pytest.raises(NotAllowedError):
        await factor_policy.lift(kit, operator, fresh=True, now_ms=NOW)
    assert await refusal_of(require(kit, admin, fresh=False)) is RefusalCode.FACTOR_OFF
    assert await refusal_of(require(kit, ada, fresh=False)) is RefusalCode.FRESH_NEEDED
    assert await refusal_of(require(kit, ada, 3)) is RefusalCode.FIELD_INVALID
    actor = Actor(ada.account_id, ada.company_id, Role.OWNER)
    assert not (await factor_policy.read(kit, actor)).required
    await require(kit, ada)
    found = await factor_policy.read(kit, actor)
    assert (found.required, found.since_ms, found.grace_days, found.without) == (True, NOW, 7, 2)
    for address in ("eve@example.org", "sam@example.org"):
        letter = await newest_letter(kit.pool, address)
        assert (letter.kind, "2027-01-22" in letter.text) == ("factor_required", True)
    await require(kit, ada, 1, now_ms=NOW + 5)
    assert (await factor_policy.read(kit, actor)).since_ms == NOW
    assert await refusal_of(factor_policy.lift(kit, ada, fresh=False, now_ms=NOW)) is (
        RefusalCode.FRESH_NEEDED
    )
    await factor_policy.lift(kit, ada, fresh=True, now_ms=NOW)
    kinds = await audit_kinds(kit, ada.account_id)
    assert kinds[-3:] == ["factor_required", "factor_required", "factor_not_required"]


async def test_grace_is_counted_from_the_rule_or_from_joining(kit: Kit, ada: Session) -> None:
    early = await join(kit, ada, "eve@example.org", Role.VIEWER)
    assert early.factor_due_ms is None
    await require(kit, ada)
    assert (await again(kit, ada, NOW)).factor_due_ms is None  # who has one owes nothing
    assert (await again(kit, early, NOW)).factor_due_ms == NOW + GRACE_MS
    late = await join(kit, ada, "sam@example.org", Role.VIEWER, NOW + 3 * DAY_MS)
    assert late.factor_due_ms == NOW + 3 * DAY_MS + GRACE_MS
    home = await log_in(kit, Identity(early.account_id, await home_of(kit, early)), NOW)
    assert home.factor_due_ms is None  # another company asks for nothing
    await turn_on_two_factor(kit.pool, early.account_id, NOW)
    assert (await again(kit, early, NOW)).factor_due_ms is None
    await second_factor.turn_off(kit, early.account_id, fresh=True, now_ms=NOW)
    assert (await again(kit, early, NOW)).factor_due_ms == NOW + GRACE_MS


async def home_of(kit: Kit, session: Session) -> int:
    """The company that somebody had before they joined this one."""
    mine = await companies.mine(kit, session.account_id)
    return next(company_id for company_id, _, _ in mine if company_id != session.company_id)


async def test_open_pages_end_with_the_grace(kit: Kit, ada: Session) -> None:
    eve = await join(kit, ada, "eve@example.org", Role.VIEWER)
    hashes = [eve.session_hash, ada.session_hash]
    for grace_days, left in ((1, set(hashes)), (0, {ada.session_hash})):
        await require(kit, ada, grace_days)
        rights = await accounts.session_rights(kit.pool, hashes, now_ms=NOW, idle_ms=DAY_MS)
        assert set(rights) == left
