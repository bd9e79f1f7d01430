"""Acceptance ``notify``: from the mains plug to somebody's mailbox and webhook.

Real PostgreSQL, gateway, portal, jobs, agent and simulated UPS; mails go to a third-party SMTP server,
webhooks to an HTTP receiver that checks their signature. Hours are moved in the database, not waited for.

The limit of SMTP: a server that has confirmed a mail cannot be asked about it afterwards (RFC 5321 section
6.1). A worker that dies between that confirmation and its own commit sends the mail once more, with the same
Message-ID. That window alone is allowed to double a mail, and only to double it.
"""

import contextlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.accept import CheckError, expect, passed, progress, wait_until
from tests.accept._notify_site import HOUR_MS, WAIT_S, Site, clock_ms, running_site
from tests.faults.processes import Part
from tests.support.claiming import make_actors
from tests.support.notice import Building, Ups

OUTAGES: Final = 42
DELAYED: Final = 6
DELAY_S: Final = 4
LIMIT_S: Final = 5.0
PEOPLE: Final = 3
UPSS: Final = 40
DOWN: Final = 12
STANDING: Final = "SELECT 1 FROM alarm WHERE topic = 'on_battery' AND ended_ms IS NULL AND device_id = %s"
POINTS: Final = (
    ("jobs", "notify.intake.before", 1),
    ("jobs", "notify.intake.after", 1),
    ("jobs", "notify.decide.before", 1),
    ("jobs", "notify.decide.after", 1),
    ("portal", "notify.mail.before", 1),
    ("portal", "notify.mail.after", 2),
    ("jobs", "notify.channel.before", 1),
    ("jobs", "notify.channel.after", 1),
)
"""Process, where it dies, and how many times a mail may arrive then."""


def latencies(site: Site, count: int, limit_s: float) -> list[float]:
    """Seconds from the mains plug to the mail server's confirmation, outage by outage."""
    took = []
    for number in range(count):
        more = partial(has_more, site, len(site.mails("on battery")), "on battery")
        began_ms = clock_ms()
        site.house.order("mains", "off")
        wait_until("the mail has arrived", more, limit_s + 30)
        took.append((site.mails("on battery")[-1]["at_ms"] - began_ms) / 1000)
        site.house.order("mains", "on")
        wait_until("mains are back", lambda: not site.house.rows(STANDING), WAIT_S)
        site.move_clock(2 * HOUR_MS)
        if number % 10 == 9:
            progress(f"{number + 1} outages, the longest {max(took):.2f} s")
        time.sleep(0.137 * (number % 8))  # so that outages begin anywhere between two readings of the UPS
    return took


def has_more(site: Site, known: int, word: str) -> bool:
    """Whether there are more mails with this word than were known."""
    return len(site.mails(word)) > known


def has_mails(site: Site, count: int) -> bool:
    """Whether there are so many."""
    return len(site.mails()) >= count


def move_until(site: Site, what: str, holds: Callable[[], bool]) -> None:
    """Move the clock by a quarter of an hour, and again every other second until it holds.

    One move may fall between a try and its pause, which then begins anew.
    """
    deadline = time.monotonic() + 2 * WAIT_S
    while not holds():
        expect(time.monotonic() < deadline, f"not in time: {what}")
        site.move_clock(HOUR_MS // 4)
        with contextlib.suppress(CheckError):
            wait_until(what, holds, 2.0)


def has_tried(site: Site, times: int) -> bool:
    """Whether each mail that waits was tried so many times."""
    ((tries,),) = site.run("SELECT min(tries) FROM mail WHERE sent_ms IS NULL AND ended_ms IS NULL")
    return (tries or 0) >= times


def is_dead(part: Part) -> bool:
    """Whether its process has ended."""
    return not part.alive


def together(site: Site, people: list[str]) -> int:
    """40 UPSs of a site fail at once: one mail to each person, one message to the webhook."""

    async def fail(building: Building) -> list[Ups]:
        site_id = await building.site("North building")
        many = await building.add(UPSS, site_id)
        await building.events(many, "on_battery")
        return many

    before, hooks = len(site.mails()), len(site.hook.taken)
    many: list[Ups] = site.with_building(fail)
    wait_until("everybody has a mail", lambda: len(site.mails()) >= before + len(people), WAIT_S)
    wait_until("the webhook has it", lambda: len(site.hook.taken) > hooks, WAIT_S)
    settle(site)
    mails = site.mails()[before:]
    expect(Counter(one["to"][0] for one in mails) == Counter(people), f"{len(mails)} mails for {people}")
    for mail in mails:
        expect(f"{UPSS} UPSs: on battery" in mail["subject"], mail["subject"])
        expect(all(ups.name in mail["text"] for ups in many), "a UPS is missing in the mail")
        expect(mail["unsubscribe"] == "List-Unsubscribe=One-Click", "no way out of the mails")
    expect(len(site.hook.taken) == hooks + 1, f"{len(site.hook.taken) - hooks} webhooks")
    expect(len(site.hook.taken[-1]["items"]) == UPSS, "a UPS is missing in the webhook")
    return len(mails)


def settle(site: Site) -> None:
    """Until nothing is about to be decided or sent."""
    due = "SELECT count(*) FROM notice_company WHERE look_ms <= %s"
    wait_until(
        "all is decided and sent",
        lambda: not site.run(due, clock_ms() + 3_500)[0][0] and not site.unsent(),
        WAIT_S,
    )


def flapping(site: Site) -> dict[str, int]:
    """A link that flaps for an hour, by a clock that is moved: messages in all, by the length of a flap."""
    counts = {}
    for half_s in (20, 60, 150):

        async def flap(building: Building, half_ms: int = 1000 * half_s) -> int:
            (ups,) = await building.add()
            await building.run(
                "UPDATE notice_policy SET topics = topics || '{ups_link}' WHERE company_id = %s",
                building.actor.company_id,
            )
            for _ in range(HOUR_MS // (2 * half_ms)):
                await building.event(ups, "communication_lost")
                await building.work(half_ms)
                await building.event(ups, "communication_restored")
                await building.work(half_ms)
            await building.work(2 * HOUR_MS)
            found = await building.run(
                "SELECT count(DISTINCT n.notice_id) FROM notice n, jsonb_array_elements(n.items) i"
                " WHERE (i->>'device')::bigint = %s",
                ups.device_id,
            )
            return int(str(found[0][0]))

        site.move_clock(10 * HOUR_MS)  # nothing was told lately
        counts[f"{half_s} s"] = site.with_building(flap, now_ms=clock_ms() - 5 * HOUR_MS)
    expect(all(1 <= count <= 3 for count in counts.values()), f"messages of a flapping link: {counts}")
    return counts


def server_down(site: Site, people: list[str]) -> int:
    """The mail server is away for an hour: nothing is lost, nothing comes twice."""

    async def fault(building: Building) -> list[Ups]:
        many = await building.add(DOWN)
        for ups in many:
            await building.run("INSERT INTO site (company_id, name, created_ms) VALUES (%s, %s, 0)",
                               building.actor.company_id, f"of {ups.name}")  # fmt: skip
            await building.run("UPDATE ownership SET site_id = (SELECT max(site_id) FROM site) WHERE"
                               " device_id = %s", ups.device_id)  # fmt: skip
        await building.events(many, "fault")
        return many

    settle(site)
    before = len(site.mails())
    site.smtp.stop()
    site.with_building(fault)
    wanted = DOWN * len(people)
    wait_until("all mails are written", lambda: site.unsent() == wanted, WAIT_S)
    for times in range(1, 5):  # a quarter of an hour each, at least
        move_until(site, f"{times} tries", partial(has_tried, site, times))
    expect(len(site.mails()) == before, "a mail arrived at a server that is away")
    site.smtp.start().wait_ready()
    arrived = partial(has_mails, site, before + wanted)
    move_until(site, "all mails have arrived", arrived)
    settle(site)
    mails = site.mails()[before:]
    expect(len(mails) == wanted, f"{len(mails)} mails instead of {wanted}")
    expect(len({one["id"] for one in mails}) == wanted, "two mails have the same Message-ID")
    return len(mails)


def killed(site: Site, people: list[str]) -> tuple[int, int]:
    """SIGKILL at each point: how many deaths, and how many mails came twice."""
    doubled = 0
    for name, point, most in POINTS:
        settle(site)
        before, hooks = len(site.mails()), len(site.hook.taken)
        part = site.cloud.parts[name]
        part.stop()
        site.cloud.start(name, fault=f"{point}:1:kill")

        async def fault(building: Building) -> None:
            (ups,) = await building.add()
            await building.event(ups, "fault")

        site.with_building(fault)
        wait_until(f"{name} has died at {point}", partial(is_dead, part), WAIT_S)
        expect(part.status == -9, f"{name} ended with {part.status}")
        site.cloud.start(name)
        time.sleep(0.5)  # whoever holds a lease is dead: by the moved clock it is over
        deadline = time.monotonic() + WAIT_S
        while len(site.mails()) < before + len(people) or len(site.hook.taken) <= hooks or site.unsent():
            expect(time.monotonic() < deadline, f"{point}: a message is lost")
            site.move_clock(HOUR_MS // 4)
            time.sleep(0.5)
        settle(site)
        new = Counter((one["to"][0], one["id"]) for one in site.mails()[before:])
        expect(len(new) == len(people), f"{point}: {len(new)} different mails for {len(people)} people")
        expect(max(new.values()) <= most, f"{point}: a mail came {max(new.values())} times")
        doubled += sum(count - 1 for count in new.values())
        told = Counter(one["delivery"] for one in site.hook.taken[hooks:])
        expect(len(told) == 1, f"{point}: {len(told)} different webhook deliveries")
        progress(f"{point}: {sum(new.values())} mails, {sum(told.values())} webhooks")
    return len(POINTS), doubled


def names(site: Site) -> Iterator[str]:
    """Addresses of the company's owners; there are PEOPLE of them."""
    for friend in make_actors(site.cloud.dsn, PEOPLE - 1, "friend"):
        site.run(
            "INSERT INTO membership VALUES (%s, %s, 'owner', 1)", site.owner.company_id, friend.account_id
        )
    rows = site.run(
        "SELECT email FROM account JOIN membership USING (account_id) WHERE company_id = %s",
        site.owner.company_id,
    )
    yield from (row[0] for row in rows)


def quantile(values: list[float], share: float) -> float:
    """Of so many values the one below which this share lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1)]


def main() -> int:
    """Everything, one after the other."""
    with tempfile.TemporaryDirectory(prefix="notify-") as folder, running_site(Path(folder)) as site:
        progress("all processes run")
        ask_first_policy(site)
        site.run("UPDATE notice_policy SET recoveries = false")
        took = latencies(site, OUTAGES, LIMIT_S)
        p50, p99 = statistics.median(took), quantile(took, 0.99)
        expect(p99 <= LIMIT_S, f"p99 from the plug to the mail is {p99:.2f} s")
        site.run("UPDATE ownership SET device_sensitivity_s = %s WHERE until_ms IS NULL", DELAY_S)
        late = latencies(site, DELAYED, LIMIT_S + DELAY_S)
        expect(min(late) >= DELAY_S, f"a mail came {min(late):.2f} s after the plug, before the delay")
        expect(max(late) <= LIMIT_S + DELAY_S, f"with a delay of {DELAY_S} s: {max(late):.2f} s")
        site.run("UPDATE ownership SET device_sensitivity_s = 0 WHERE until_ms IS NULL")
        site.run("UPDATE notice_policy SET recoveries = true")
        site.house.agent.stop()
        people = list(names(site))
        site.add_webhook()
        grouped = together(site, people)
        progress(f"{UPSS} UPSs together: {grouped} mails to {len(people)} people")
        site.cloud.stop("jobs")
        flaps = flapping(site)
        site.cloud.start("jobs")
        progress(f"a link that flaps for an hour: {flaps}")
        held = server_down(site, people)
        progress(f"the mail server away for an hour: {held} mails, each once")
        deaths, doubled = killed(site, people)
        expect(site.hook.wrong == 0, f"{site.hook.wrong} webhooks with a wrong signature")
        expect(is_sorted_log(site), "the log does not name every mail")
    return passed(
        "notify",
        f"plug to mail over {len(took)} outages p50 {p50:.2f} s, p99 {p99:.2f} s, with a delay of {DELAY_S} s"
        f" {min(late):.2f} to {max(late):.2f} s; {UPSS} UPSs of a site: {grouped} mails to {len(people)}"
        f" people; messages of a link that flaps for an hour: {flaps}; mail server away for an hour: {held}"
        f" mails, each once; {deaths} SIGKILLs: nothing lost, {doubled} mails twice, all between the server's"
        " confirmation and our commit, with one Message-ID; every webhook signed",
    )


def ask_first_policy(site: Site) -> None:
    """The company gets its first policy; nobody was told anything yet."""
    site.run(
        "INSERT INTO notice_company (company_id, look_ms, created_ms) VALUES (%s, 0, 0)"
        " ON CONFLICT (company_id) DO UPDATE SET look_ms = 0",
        site.owner.company_id,
    )
    wait_until("the first policy is there", lambda: site.run("SELECT 1 FROM notice_policy"), WAIT_S)


def is_sorted_log(site: Site) -> bool:
    """Whether each confirmed mail of a person is a line of the delivery log, in the order of its number."""
    rows = site.run("SELECT delivery_id, sent_to FROM notice_delivery WHERE account_id IS NOT NULL"
                    " ORDER BY delivery_id")  # fmt: skip
    grown = all(one[0] < two[0] for one, two in pairwise(rows))
    named = {address for _, address in rows}
    return grown and {mail["to"][0] for mail in site.mails()} <= named
