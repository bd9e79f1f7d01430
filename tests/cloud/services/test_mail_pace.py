"""Nobody's mailbox is flooded by us, whoever asks."""

import pytest

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import outbox
from cloud.services import claiming, mail_pace, offering, signing_up
from cloud.services.acting import OwningError
from cloud.services.kit import Kit
from cloud.services.mail_pace import DAY_MS, HOUR_MS, OFFER, SIGN_UP
from tests.support.claiming import TestDevice, make_actors
from tests.support.kit import PAGE_TWO, PASSWORD, add_person, never_a_robot

NOW = 1_800_000_000_000


async def ask(kit: Kit, email: str, now_ms: int) -> RefusedError | None:
    """A new sign-up that asks for its code; why it is refused."""
    token = await signing_up.begin(
        kit,
        email=email,
        first_name="Grace",
        last_name="South",
        password=PASSWORD,
        location="DE",
        now_ms=now_ms,
    )
    try:
        await signing_up.register(
            kit, token, PAGE_TWO, privacy=True, promotions=False, check_robot=never_a_robot, now_ms=now_ms
        )
    except RefusedError as refusal:
        return refusal
    return None


async def test_a_mailbox_gets_few_mails_however_many_sign_ups_begin(kit: Kit) -> None:
    """The same for an address that has an account and for one that has none, and for nobody else."""
    await add_person(kit, "ada@example.org", NOW)
    before = len(await outbox.newest(kit.pool))
    answers = []
    for email in ("Ada@example.org", "eve@example.org"):
        for _ in range(SIGN_UP.free):
            assert await ask(kit, email, NOW) is None
        refusal = await ask(kit, email, NOW + 1)
        assert refusal is not None
        answers.append((refusal.code, str(refusal), refusal.after_s))
        assert await ask(kit, email, NOW + 60_000) is None
        refusal = await ask(kit, email, NOW + 60_000)
        assert refusal is not None
        assert refusal.after_s == 120
    assert answers[0] == answers[1]
    assert answers[0] == (RefusalCode.RESEND_LATER, mail_pace.TEXT, 60)
    assert len(await outbox.newest(kit.pool)) - before == 2 * (SIGN_UP.free + 1)
    assert await ask(kit, "grace@example.org", NOW) is None


async def test_the_pause_grows_to_an_hour_and_is_forgotten_after_a_quiet_day(kit: Kit) -> None:
    async def mails(from_ms: int, until_ms: int) -> int:
        sent = 0
        async with kit.pool.connection() as connection:
            for now_ms in range(from_ms, until_ms, 60_000):
                try:
                    await mail_pace.count_sign_up(connection, "eve@example.org", now_ms)
                except RefusedError:
                    continue
                sent += 1
        return sent

    first_hour = await mails(NOW, NOW + HOUR_MS)
    assert first_hour <= SIGN_UP.free + 6
    assert await mails(NOW + 20 * HOUR_MS, NOW + 24 * HOUR_MS) <= 5
    assert await mails(NOW + 24 * HOUR_MS + DAY_MS, NOW + 25 * HOUR_MS + DAY_MS) == first_hour


async def test_a_device_offered_again_and_again_does_not_flood_a_mailbox(kit: Kit, database: str) -> None:
    (actor,) = make_actors(database, 1)
    device = TestDevice()
    await device.announce(kit.pool, iat_ms=77)
    await claiming.submit(kit.pool, actor, device.product_id, device.label_pub, NOW)

    async def offer(email: str, now_ms: int) -> None:
        await offering.offer(kit.pool, actor, device.device_id, now_ms, fresh=True, to_email=email)
        await offering.withdraw_offer(kit.pool, actor, device.device_id, now_ms)

    for number in range(OFFER.free):
        await offer("eve@example.org", NOW + number)
    with pytest.raises(RefusedError, match="wait") as caught:
        await offering.offer(
            kit.pool, actor, device.device_id, NOW + OFFER.free, fresh=True, to_email="EVE@example.org"
        )
    assert (caught.value.code, caught.value.after_s) == (RefusalCode.TOO_FAST, 60)
    with pytest.raises(OwningError):  # none is open: what is not mailed is not made
        await offering.withdraw_offer(kit.pool, actor, device.device_id, NOW + OFFER.free)
    await offer("grace@example.org", NOW + OFFER.free + 1)
    assert await ask(kit, "eve@example.org", NOW + OFFER.free + 2) is None
