"""Acceptance ``event-truth``: the cloud tells what happened to the UPSs, all of it, once, and nothing else.

A hundred outages, brown-outs, self-tests, overloads and link losses befall simulated UPSs on a serial line
each, read by real agents, whose links to the cloud are cut at random moments while the gateway is killed with
SIGKILL. What the simulators wrote down of their own physics is then compared with the events in the cloud:
the multisets are equal, each event is timed when it happened, however late it came, and no outage was made
of a serial line that went silent. One agent is cut off for longer than the hold-off: its devices are told as
offline and online once each, and no others but those whose agent says that it was away for as long.

``EVENT_SEED=n`` repeats a script, with its cuts and kills.
"""

import os
import random
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from cloud.core.cloud_event import CloudEventKind
from cloud.core.outage import Ending, PowerEvent, pair
from protocol.messages import EventKind
from tests.accept import CheckError, expect, passed, progress, wait_until
from tests.accept._event_oracle import Due, check_script, complaints, count, due_events, read_truth
from tests.accept._event_script import EPISODES, Script, make_script
from tests.accept._event_site import OFFLINE_AFTER_S, EventSite, running_site

NAME: Final = "event-truth"
UNITS: Final = 24
AGENTS: Final = 4
LONELY: Final = AGENTS - 1
"""The agent that is cut off for longer than the hold-off."""
LONELY_S: Final = OFFLINE_AFTER_S + 60.0  # a machine that is busy may hold a gateway's beat up once
HEARD_S: Final = 20
"""What a device was last heard may be noted so much later than it was."""
KILLS: Final = 5
KILLED_UNTIL: Final = 0.4
"""Share of the script in which the gateway is killed: for the hold-off after its start, nobody is away."""
CUT_EVERY_S: Final = (12.0, 28.0)
CUT_S: Final = (1.0, 8.0)
DOWN_S: Final = (0.5, 3.0)
DRAIN_S: Final = 150.0
Deed = tuple[float, Callable[[], None]]


def deeds(site: EventSite, script: Script, seed: int) -> list[Deed]:
    """Everything that is done, by time: orders for UPSs, cuts of links, kills of the gateway."""
    draw = random.Random(seed + 1)
    plan: list[Deed] = [(step.at_s, partial(site.order, step.unit, *step.words)) for step in script.steps]
    for link in range(AGENTS):
        at_s = script.lasts_s * (KILLED_UNTIL + 0.05) if link == LONELY else draw.uniform(*CUT_EVERY_S)
        while at_s < script.lasts_s:
            end_s = at_s + (LONELY_S if link == LONELY else draw.uniform(*CUT_S))
            plan += [(at_s, partial(site.links.cut, link)), (end_s, partial(site.links.mend, link))]
            at_s = script.lasts_s if link == LONELY else end_s + draw.uniform(*CUT_EVERY_S)
    for number in range(KILLS):
        at_s = script.lasts_s * KILLED_UNTIL * (number + draw.uniform(0.2, 0.7)) / KILLS
        plan += [(at_s, site.kill_gateway), (at_s + draw.uniform(*DOWN_S), site.revive_gateway)]
    return sorted(plan, key=lambda deed: deed[0])


def carry_out(site: EventSite, plan: list[Deed]) -> None:
    """Do all of it, each at its time."""
    began_s = told_s = time.monotonic()
    for number, (at_s, deed) in enumerate(plan):
        time.sleep(max(0.0, began_s + at_s - time.monotonic()))
        deed()
        if time.monotonic() - told_s > 15:
            told_s = time.monotonic()
            site.expect_alive()
            progress(f"{number + 1} of {len(plan)} deeds done, {site.links.cuts} cuts")


def differences(site: EventSite, due: dict[int, list[Due]]) -> list[str]:
    """What the cloud holds beside what had to be told."""
    sent, _ = site.stored()
    return [text for unit in site.device_ids for text in complaints(unit, due.get(unit, []), sent[unit])]


def check_outages(site: EventSite, due: dict[int, list[Due]]) -> None:
    """Paired, the events are the outages that there were, each with both its ends."""
    sent, _ = site.stored()
    for unit, events in sent.items():
        found = pair(PowerEvent(one.ts_ms, 1, number, one.kind) for number, one in enumerate(events))
        began = [one.from_ms for one in due.get(unit, []) if one.kind == EventKind.ON_BATTERY]
        whole = [outage for outage in found if outage.ending is Ending.ENDED and outage.lasted_ms is not None]
        expect(len(found) == len(whole) == len(began), f"unit {unit}: {len(began)} outages became {found}")


def check_absences(site: EventSite) -> int:
    """The devices of the lonely agent were told as offline and online, once, and no others; how many."""
    wanted = [CloudEventKind.DEVICE_OFFLINE.value, CloudEventKind.DEVICE_ONLINE.value]
    lonely = site.units_of(LONELY)

    def own() -> dict[int, list[str]]:
        return site.stored()[1]

    def away() -> bool:
        told = own()
        return all(told[unit] == wanted for unit in lonely)

    try:
        wait_until("the devices that were cut off are told as away and back", away, 30, 0.5)
    except CheckError as error:
        listening = site.ask("SELECT since_ms, beat_ms FROM listening")
        raise CheckError(f"{error}: {own()}, gateways listened {listening}") from error
    others = {unit: kinds for unit, kinds in own().items() if unit not in lonely and kinds}
    for unit, kinds in others.items():  # whose agent found no way back in time, between cuts and kills
        away_s = [one for one in site.times_away_s(unit) if one >= OFFLINE_AFTER_S - HEARD_S]
        times = len(kinds) // 2
        expect(
            kinds == wanted * times and times <= len(away_s),
            f"unit {unit} was told as {kinds}, its agent was without connection {away_s} s",
        )
    return len(lonely) + len(others)


def check(site: EventSite, script: Script, seed: int) -> str:
    """The whole check on a running site; its figures."""
    before, _ = site.stored()
    expect(not any(before.values()), f"events before anything happened: {before}")
    plan = deeds(site, script, seed)
    progress(f"{len(plan)} deeds in {script.lasts_s:.0f} s: {dict(script.episodes)}")
    carry_out(site, plan)
    time_left = wait_until("the truth holds the whole script", lambda: _truth_is_whole(site, script), 60, 0.5)
    due = {unit: due_events(lines) for unit, lines in read_truth(site.truth).items()}
    check_script(script.told, due)
    progress(f"the script is over, {time_left:.0f} s later the truth is whole; now what is still on its way")
    wait_until("the cloud holds every event", lambda: not differences(site, due), DRAIN_S, 1.0)
    away = check_absences(site)
    check_outages(site, due)
    time.sleep(15)  # what comes now would be told twice or without a reason
    found = differences(site, due)
    expect(not found, "; ".join(found[:5]))
    site.expect_alive()
    alarms = site.alarms()
    expect(not alarms, f"{len(alarms)} errors in the logs: {alarms[:3]}")
    [(rejected,)] = site.ask("SELECT count(*) FROM rejected")
    expect(rejected == 0, f"{rejected} messages were rejected")
    told = sum((count(one) for one in due.values()), Counter[tuple[str, str]]())
    lost = told[(EventKind.COMMUNICATION_LOST.value, "")]
    outages = told[(EventKind.ON_BATTERY.value, "")]
    return (
        f"{script.episodes.total()} episodes on {UNITS} UPSs read by {AGENTS} agents: {told.total()} events"
        f" of {len(told)} kinds, all told once and timed when they happened; {outages} outages, none of them"
        f" from {lost} serial lines that were lost; {site.links.cuts} cuts of links, {KILLS} SIGKILLs of the"
        f" gateway; {away} devices away for long told as offline and online once each, no others;"
        f" EVENT_SEED={seed}"
    )


def _truth_is_whole(site: EventSite, script: Script) -> bool:
    truth = read_truth(site.truth)
    try:
        check_script(script.told, {unit: due_events(truth.get(unit, [])) for unit in script.told})
    except CheckError:
        return False
    return True


def main() -> int:
    """Run the check; the exit status."""
    seed = int(os.environ.get("EVENT_SEED") or secrets.randbelow(1_000_000))
    script = make_script(seed, UNITS)
    expect(script.episodes.total() == EPISODES, f"the script has {script.episodes.total()} episodes")
    folder = Path(tempfile.mkdtemp(prefix="event-truth-"))
    try:
        with running_site(folder, units=UNITS, agents=AGENTS) as site:
            return passed(NAME, check(site, script, seed))
    except CheckError as error:
        raise CheckError(f"{error} (EVENT_SEED={seed})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
