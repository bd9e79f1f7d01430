"""The robot check without JavaScript, on a real PostgreSQL: who passes, when, and how many."""

import asyncio
from dataclasses import replace

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.slow_lane import EVERYWHERE, LIFE_MS, MAX_WAIT_MS, MIN_AGE_MS, NETWORK
from cloud.services import slow_lane
from cloud.services.kit import Kit
from cloud.services.slow_lane import WaitError
from cloud.services.vault import Vault

NOW = 1_800_000_000_000
HERE = "192.0.2.1"


async def press(kit: Kit, ticket: str, at_ms: int, address: str = HERE) -> RefusedError | None:
    """Press the button of a form with this ticket; why it is refused."""
    try:
        await slow_lane.check(kit, ticket, address, at_ms)
    except RefusedError as refusal:
        return refusal
    return None


async def waiting(kit: Kit, ticket: str, at_ms: int, address: str = HERE) -> WaitError:
    """The same, where a wait is the answer."""
    answer = await press(kit, ticket, at_ms, address)
    assert isinstance(answer, WaitError)
    assert answer.code is RefusalCode.ROBOT_WAIT
    return answer


def fresh(kit: Kit, at_ms: int) -> str:
    """A form's ticket that is just old enough."""
    return slow_lane.ticket(kit, at_ms - MIN_AGE_MS)


async def test_a_ticket_is_good_once_and_not_at_once(kit: Kit) -> None:
    ticket = slow_lane.ticket(kit, NOW)
    early = await waiting(kit, ticket, NOW + 100)
    assert (early.ticket, early.after_s) == (ticket, 5)
    assert slow_lane.ticket(kit, NOW + 100, ticket) == ticket  # the form that is shown again keeps it
    assert await press(kit, ticket, NOW + MIN_AGE_MS) is None
    again = await waiting(kit, ticket, NOW + MIN_AGE_MS)
    assert again.ticket != ticket
    assert await press(kit, again.ticket, NOW + 2 * MIN_AGE_MS) is None


async def test_a_ticket_that_is_not_ours_or_too_old_is_none(kit: Kit) -> None:
    ticket = slow_lane.ticket(kit, NOW)
    earlier = ticket.replace(f".{NOW + MIN_AGE_MS}.", f".{NOW}.")
    turned = ticket.replace("2.f.", "2.t.")
    other = slow_lane.ticket(replace(kit, vault=Vault(b"o" * 32)), NOW)
    for wrong in ("", "x", ticket[:-1], earlier, turned, other):
        assert wrong != ticket
        answer = await press(kit, wrong, NOW + MIN_AGE_MS)
        assert answer is not None
        assert answer.code is RefusalCode.ROBOT_CHECK
        assert slow_lane.ticket(kit, NOW, wrong) != wrong
    answer = await press(kit, ticket, NOW + MIN_AGE_MS + LIFE_MS)
    assert answer is not None
    assert answer.code is RefusalCode.ROBOT_CHECK


async def test_at_once_a_ticket_passes_once(kit: Kit) -> None:
    ticket = fresh(kit, NOW)
    answers = await asyncio.gather(*(press(kit, ticket, NOW) for _ in range(6)))
    assert answers.count(None) == 1


async def test_a_network_has_few_turns_and_whoever_waited_passes(kit: Kit) -> None:
    at_once = await asyncio.gather(*(press(kit, fresh(kit, NOW), NOW) for _ in range(NETWORK.at_once + 3)))
    assert at_once.count(None) == NETWORK.at_once
    waits = sorted((one for one in at_once if isinstance(one, WaitError)), key=lambda one: one.after_s or 0)
    assert [one.after_s for one in waits] == [60, 120, 180]
    first, later = waits[0].ticket, waits[1].ticket
    assert (await waiting(kit, first, NOW + 59_000)).after_s == 1
    assert await press(kit, first, NOW + 60_000) is None
    assert await press(kit, later, NOW + 30 * 60_000) is None  # a turn is kept, an hour long
    assert isinstance(await press(kit, first, NOW + 61_000), WaitError)  # and used once
    assert await press(kit, fresh(kit, NOW), NOW, "192.0.2.2") is None  # nobody else waits for them


async def test_a_flood_gets_no_more_turns_and_leaves_no_more_rows(kit: Kit) -> None:
    """However many are sent from one network, fifteen are worth something within ten minutes."""
    outcomes = [await press(kit, fresh(kit, NOW), NOW) for _ in range(60)]
    bound = NETWORK.at_once + MAX_WAIT_MS // NETWORK.every_ms
    assert outcomes.count(None) == NETWORK.at_once
    kept = [one for one in outcomes if isinstance(one, WaitError) and one.ticket.startswith("2.t.")]
    assert len(kept) == bound - NETWORK.at_once
    async with kit.pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM used_challenge")
        assert await cursor.fetchone() == (bound,)
    # Nobody is locked out: the ticket that got no turn gets one as soon as one is near enough.
    refused = await waiting(kit, ticket := fresh(kit, NOW), NOW)
    assert (refused.ticket, refused.after_s) == (ticket, 60)
    assert (await waiting(kit, ticket, NOW + 60_000)).ticket.startswith("2.t.")


async def test_all_networks_together_have_a_bound(kit: Kit) -> None:
    async def one(number: int) -> RefusedError | None:
        return await press(kit, fresh(kit, NOW), NOW, f"198.51.100.{number}")

    answers = [await one(number) for number in range(EVERYWHERE.at_once + 3)]
    assert answers.count(None) == EVERYWHERE.at_once
    assert [one.after_s for one in answers if one is not None] == [2, 4, 6]
