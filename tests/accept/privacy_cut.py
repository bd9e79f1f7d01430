"""Acceptance ``privacy-cut``: each owner sees the own time, and nothing of anybody else's.

A device changes hands in every way there is: by a transfer, by a release, second-hand after a reset. Before
and after it reports what tells the two tenures apart; then every page, answer, file, live page and mail of
both accounts is searched for the other's marks. A member who is removed loses every open page. At last the
same with a real agent that cannot be reached while its device changes hands (``_privacy_offline``).
"""

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from protocol.errors import Reason
from protocol.messages import EventKind, Request
from protocol.signing import seal_announcement
from tests.accept import expect, passed, progress
from tests.accept._claim_run import Check, connected, expect_answer, threaded, until
from tests.accept._privacy import FIRST, RANGES, SECOND, Feed, Heard, Marks, Owner, leaks, now_ms
from tests.accept._privacy_offline import offline
from tests.support.device import WireDevice
from tests.support.parts import running_parts
from tests.support.person import PASSWORD, make_accounts

NAME: Final = "privacy-cut"
PROOF: Final = {"proof": PASSWORD}
CUT_MS: Final = 1000
"""A live page of the old owner ends within this."""
COARSEST_MS: Final = 25 * 3_600_000
"""Width of a bucket of the longest range: a bucket that both tenures lie in."""


class Run:
    """One device that changes hands from the first owner to the second one."""

    def __init__(self, check: Check, first: Owner, second: Owner, device: WireDevice) -> None:
        self.check, self.first, self.second, self.device = check, first, second, device
        self.device_id = device.device_id
        self.claim_id = ""
        self.second_claim_id = ""
        self.straddling = 0

    def ownership(self) -> tuple[int, int, int | None]:
        """(epoch, from, until) of the newest one."""
        rows = self.check.rows(
            "SELECT epoch, from_ms, until_ms FROM v_ownership WHERE device_id = %s ORDER BY epoch DESC",
            self.device_id,
        )
        epoch, from_ms, until_ms = rows[0]
        return epoch, from_ms, until_ms  # type: ignore[return-value]  # bigint columns

    async def act(self, who: Owner, act: str, **fields: str) -> None:
        """A form of the device's ownership page."""
        page = await who.person.submit_form(f"/devices/{self.device_id}/owner/{act}", {**PROOF, **fields})
        expect(page.status == 200, f"{act}: {page.status}")

    async def name(self, who: Owner, marks: Marks) -> None:
        """Write a name and a description."""
        fields = {"name": marks.name, "description": f"{marks.note} of the UPS"}
        page = await who.person.submit_form(f"/devices/{self.device_id}/profile", fields)
        expect(page.status == 200, f"naming the device: {page.status}")

    async def claim(self, who: Owner) -> str:
        """Claim the device, which announces itself; the claim's id."""
        expect(await threaded(self.device.announce) < 0x80, "an announcement was refused")
        answer = await who.person.claim(self.device.product_id, self.device.product_key)
        expect_answer(answer, 200, "won", f"the claim of {who.email}")
        return str(answer.body["claim_id"])

    async def heard_unowned(self) -> None:
        """Wait until the device knows that nobody owns it."""
        await until(lambda: not self.device.hello.owned, "the device hears that it has no owner")

    async def shows(self, marks: Marks) -> None:
        """Wait until the newest value is of this tenure."""
        await until(
            lambda: (
                self.check.rows("SELECT input_voltage FROM latest WHERE device_id = %s", self.device_id)
                == [(float(marks.volts),)]
            ),
            f"the shown value is {marks.volts} V",
        )


# --- the ways to change hands -------------------------------------------------------------------------------


async def transfer(run: Run, feed: Feed) -> None:
    """Offered by mail and accepted, the device being connected."""
    await run.act(run.first, "offer", to_email=run.second.email)
    pattern = re.compile(r"/transfers: (\S+)")

    def token() -> str:
        rows = run.check.rows(
            "SELECT text FROM mail WHERE kind = 'ownership_offered' AND position(%s in text) > 0"
            " ORDER BY mail_id DESC",
            run.device.product_id.value,
        )
        found = pattern.search(str(rows[0][0])) if rows else None
        return found[1] if found else ""

    await until(lambda: bool(token()), "the offer is mailed")
    await feed.sample(now_ms())
    page = await run.second.person.submit_form("/transfers/accept", {"token": token(), **PROOF})
    expect(page.status == 200, f"accepting gives {page.status}")


async def release(run: Run, feed: Feed) -> None:
    """Released while connected: drained first; then claimed by somebody else."""
    await run.act(run.first, "release", sure="on")
    asked = run.check.rows(
        "SELECT opened_ms FROM v_matter WHERE device_id = %s AND kind = 'release'", run.device_id
    )
    expect(asked, "a connected device was released without draining")
    await feed.sample(int(str(asked[0][0])))  # stored up to the moment of the request: that ends it
    await run.heard_unowned()
    run.second_claim_id = await run.claim(run.second)


async def second_hand(run: Run, feed: Feed) -> None:
    """Asked for by the device after its reset; 14 days without an objection; then claimed by another."""
    device = run.device
    asked = seal_announcement(device.announcement(request=Request.RELEASE), device.label, device.key)
    expect(await threaded(device.publish, asked) < 0x80, "the request was refused")
    due = "SELECT 1 FROM matter WHERE device_id = %s AND kind = 'second_hand' AND status = 'open'"
    await until(lambda: bool(run.check.rows(due, run.device_id)), "the request is open")
    await feed.sample(now_ms())
    run.check.rows(  # fourteen days go by
        "UPDATE matter SET opened_ms = opened_ms - 1209600000, due_ms = due_ms - 1209600000"
        " WHERE device_id = %s AND kind = 'second_hand' AND status = 'open' RETURNING 1",
        run.device_id,
    )
    await run.heard_unowned()
    run.second_claim_id = await run.claim(run.second)


Way = Callable[[Run, Feed], Awaitable[None]]
WAYS: Final[dict[str, tuple[Way, set[str]]]] = {
    "transfer": (transfer, {"ownership_offer_taken"}),
    "release": (release, {"ownership_released"}),
    "second-hand": (second_hand, {"ownership_released"}),
}
"""How it changes hands, and the mail that tells the first owner that it is over."""


async def change_hands(run: Run, how: str) -> int:
    """One device from the first owner to the second; ms until the first one's live page had ended."""
    way, farewell = WAYS[how]
    first, second, device = run.first, run.second, run.device
    run.claim_id = await run.claim(first)
    hello = await threaded(device.wait_owned)
    await run.name(first, FIRST)
    feed = Feed(device, hello.epoch, FIRST, hello.epoch)
    expect(await feed.sample(*(now_ms() - back for back in (90_000, 60_000, 30_000))) == 0, "refused")
    expect(await feed.event(EventKind.OVERLOAD, now_ms() - 1000) == 0, "an event was refused")
    expect(await feed.sample(now_ms()) == 0, "a sample was refused")
    await run.shows(FIRST)
    own = await first.everything(run.device_id, run.claim_id)
    api = f"/api/v1/devices/{run.device_id}"
    tables = (f"{api}/samples.csv", f"{api}/samples.json", f"{api}/history?range_s=3600")
    for path in (api, *tables, f"/devices/{run.device_id}", f"/devices/{run.device_id}/table?range_s=3600"):
        expect(f"{FIRST.volts} V" in FIRST.found_in(own[path][1]), f"{how}: the search misses it on {path}")
    for path in (f"{api}/events", f"{api}/events.csv", f"{api}/events.json"):
        expect(FIRST.note in FIRST.found_in(own[path][1]), f"{how}: the search misses it on {path}")
    async with first.watching(run.device_id) as theirs:
        await theirs.until("the first owner's values", f"{FIRST.volts}")
        await way(run, feed)
        epoch, from_ms, _ = run.ownership()
        expect(epoch > feed.epoch, f"{how}: nothing changed hands")
        ended_ms = await theirs.until_ended()
    [(until_ms,)] = run.check.rows(
        "SELECT until_ms FROM v_ownership WHERE device_id = %s AND epoch = %s", run.device_id, feed.epoch
    )
    took_ms = ended_ms - int(str(until_ms))
    expect(took_ms <= CUT_MS, f"{how}: the first owner's live page ended after {took_ms} ms")
    async with second.watching(run.device_id) as hers:
        await second_tenure(run, how, feed, Feed(device, epoch, SECOND, feed.stream + 1), hers)
    expect(not SECOND.found_in(theirs.text), f"{how}: the first owner's live page shows the second tenure")
    await compare(run, how, feed.samples)
    await mails(run, how, int(str(until_ms)), farewell)
    run.straddling = count_straddling(run, from_ms)
    return took_ms


async def second_tenure(run: Run, how: str, old: Feed, feed: Feed, hers: Heard) -> None:
    """What comes after the cut: late words of the old time first, then the new owner's own."""
    await until(lambda: run.device.hello.epoch == feed.epoch and run.device.hello.owned, "the new hello")
    _, from_ms, _ = run.ownership()
    late = [await old.sample(from_ms - 20), await old.event(EventKind.OVERLOAD_CLEARED, from_ms - 20)]
    expect(late == [Reason.NO_MATCHING_SUBSCRIBERS] * 2, f"{how}: late words of the old time: {late}")
    old.device, snapshot = run.device, Feed(run.device, feed.epoch, FIRST, feed.stream)
    expect(await snapshot.now(from_ms - 10) == 0, f"{how}: a late snapshot was refused")
    shown = await run.second.api(f"/api/v1/devices/{run.device_id}")
    expect(
        (shown["ts_ms"], shown["values"]["input_voltage"]) == (None, None),
        f"{how}: a snapshot of the old time is shown: {shown['ts_ms']}",
    )
    expect((shown["seen_ms"] or from_ms) >= from_ms, f"{how}: when it was heard before is shown")
    expect(await feed.sample(now_ms()) == 0, f"{how}: the new owner's first sample was refused")
    expect(await feed.event(EventKind.REPLACE_BATTERY, now_ms()) == 0, f"{how}: the event was refused")
    await run.name(run.second, SECOND)
    await run.shows(SECOND)
    await hers.until("the new owner's values", f"{SECOND.volts}")
    expect(not FIRST.found_in(hers.text), f"{how}: the new live page shows {FIRST.found_in(hers.text)}")


async def compare(run: Run, how: str, first_samples: int) -> None:
    """Everything both accounts see."""
    gone = await run.first.everything(run.device_id, run.claim_id)
    new = await run.second.everything(run.device_id, run.second_claim_id)
    found = leaks(gone, SECOND, run.second.email, "Company 1")
    expect(not found, f"{how}: the first owner sees {found}")
    found = leaks(new, FIRST, run.first.email, "Company 0")
    expect(not found, f"{how}: the second owner sees {found}")
    kept = ("/samples.", "/events.", "/tenures")
    for path, (status, _text) in gone.items():
        if str(run.device_id) in path:
            own = any(word in path for word in kept)
            away = {404, 303} if path.endswith("/owner") else {404}  # from there to the list
            expect(status in ({200} if own else away), f"{how}: the first owner gets {status} for {path}")
    for path, (status, _text) in new.items():
        expect(status == 200, f"{how}: the second owner gets {status} for {path}")
    for owner, marks, count in ((run.first, FIRST, first_samples), (run.second, SECOND, 1)):
        rows = await owner.exported(run.device_id, "samples")
        expect(
            [row["input_voltage"] for row in rows] == [f"{marks.volts}.0"] * count,
            f"{how}: {owner.email} exports {[row['input_voltage'] for row in rows]}, not {count} samples",
        )
        notes = [row["detail"] for row in await owner.exported(run.device_id, "events")]
        expect(len(notes) == 1 and marks.note in notes[0], f"{how}: {owner.email} exports events {notes}")
    for range_s in RANGES:
        history = await run.second.api(f"/api/v1/devices/{run.device_id}/history?range_s={range_s}")
        drawn = {value for value in history["points"]["input_voltage"] if value is not None}
        expect(drawn == {SECOND.volts}, f"{how}: the chart of {range_s} s averages to {drawn}")


async def mails(run: Run, how: str, cut_ms: int, farewell: set[str]) -> None:
    """After the cut the first owner hears one thing of the device: that it is over. All mails are searched.

    The new owner's own acts are told before that, so that a mail that went astray would be there.
    """
    await run.act(run.second, "stolen")
    await run.act(run.second, "found")

    def about() -> list[tuple[object, ...]]:
        return run.check.rows(
            "SELECT to_address, kind, subject || ' ' || text, created_ms FROM mail"
            " WHERE position(%s in subject || text) > 0 OR position(%s in text) > 0",
            run.device.product_id.value,
            str(run.device_id),
        )

    def told(kind: str) -> bool:
        return any(row[1] == kind for row in about())

    await until(lambda: told("ownership_stolen_lifted"), f"{how}: the new owner's acts are mailed")
    rows = about()
    to_first = [row[1] for row in rows if row[0] == run.first.email and int(str(row[3])) >= cut_ms]
    expect(set(to_first) == farewell and len(to_first) == 1, f"{how}: after the cut: {to_first}")
    for to_address, kind, text, _created_ms in rows:
        other = FIRST if to_address == run.second.email else SECOND
        expect(not other.found_in(str(text)), f"{how}: the mail {kind} to {to_address} tells of the other")


def count_straddling(run: Run, from_ms: int) -> int:
    """How many of the coarsest buckets hold samples of both tenures."""
    rows = run.check.rows(
        "SELECT 1 FROM v_telemetry WHERE device_id = %s"
        " GROUP BY floor(extract(epoch FROM ts) * 1000 / %s) HAVING count(DISTINCT epoch) > 1",
        run.device_id,
        COARSEST_MS,
    )
    expect(from_ms > 0, "no ownership")
    return len(rows)


# --- a member who is removed --------------------------------------------------------------------------------


async def removed_member(check: Check, head: Owner, member: Owner) -> int:
    """A colleague with an open live page is removed; ms until it had ended."""
    device = await threaded(check.device)
    check.rows(
        "INSERT INTO membership (company_id, account_id, role, created_ms)"
        " SELECT h.company_id, a.account_id, 'viewer', %s FROM account a, account b"
        " JOIN membership h USING (account_id) WHERE a.email = %s AND b.email = %s AND h.role = 'owner'"
        " RETURNING 1",
        now_ms(),
        member.email,
        head.email,
    )
    [(account_id, company_id)] = check.rows(
        "SELECT m.account_id, m.company_id FROM membership m JOIN account USING (account_id)"
        " WHERE email = %s AND role = 'viewer'",
        member.email,
    )
    switched = await member.browser.post("/company/switch", {"company": str(company_id)})
    expect(switched.status == 303, f"switching the company gives {switched.status}")
    async with connected(device):
        run = Run(check, head, member, device)
        await run.claim(head)
        hello = await threaded(device.wait_owned)
        feed = Feed(device, hello.epoch, FIRST, hello.epoch)
        await feed.sample(now_ms())
        await run.shows(FIRST)
        async with member.watching(device.device_id) as theirs:
            await theirs.until("the company's values", f"{FIRST.volts}")
            asked_ms = now_ms()
            page = await head.person.submit_form("/company/remove", {"member": str(account_id)})
            expect(page.status == 200, f"removing a member gives {page.status}")
            took_ms = await theirs.until_ended() - asked_ms
        expect(took_ms <= CUT_MS, f"a removed member's live page ended after {took_ms} ms")
        seen = await member.everything(device.device_id)
        found = leaks(seen, FIRST, str(device.product_id.value), head.email)
        expect(not found, f"a removed member sees {found}")
        for path, (status, _text) in seen.items():
            if str(device.device_id) in path:
                expect(status in {303, 401, 404}, f"a removed member gets {status} for {path}")
        expect(run.ownership()[2] is None, "removing a member moved a device")
    return took_ms


# --- all of it ----------------------------------------------------------------------------------------------


async def run_all(check: Check) -> str:
    """Every way to change hands, and a member who is removed."""
    emails = await make_accounts(check.parts.dsn, 3, now_ms())
    ends: list[int] = []
    straddling = 0
    async with AsyncExitStack() as stack:
        first, second, member = [
            await stack.enter_async_context(Owner(check.parts.portal_url, email)) for email in emails
        ]
        for how in WAYS:
            device = await threaded(check.device)
            async with connected(device):
                run = Run(check, first, second, device)
                ends.append(await change_hands(run, how))
                straddling += run.straddling
            progress(f"{how}: the live page ended after {ends[-1]} ms, nobody sees the other's time")
        expect(straddling, "no bucket held samples of both tenures: nothing was proved of them")
        took_ms = await removed_member(check, first, member)
        progress(f"a removed member's live page ended after {took_ms} ms")
    return f"""{", ".join(WAYS)}: own time only on pages, API, exports, live pages and mails; {straddling}
        buckets of both tenures; live pages of old owners ended within {max(ends)} ms, of a removed member
        within {took_ms} ms"""


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-privacy-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud") as parts:
            live = asyncio.run(run_all(Check(parts, folder)))
        return passed(NAME, f"{live}; {offline(folder / 'house')}")
