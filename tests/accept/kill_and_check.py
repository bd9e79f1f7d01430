"""Acceptance ``kill-and-check``: nothing is lost, and nothing stored twice, while every part is killed.

200 simulated devices, read over Modbus by real agents, send a sample a second over TLS for three minutes
while PostgreSQL, the gateway and each agent are killed with SIGKILL at least five times, some of them at
fault points. What the agents wrote down themselves is then compared with the table: every acknowledged sample
is there once; after the drain every sample sent is; none twice. Each device also has one power failure, whose
events must arrive.

``KILL_SEED=n`` repeats a plan of kills; without it every run has its own.
"""

import os
import random
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg

from protocol.messages import EventKind
from tests.accept import CheckError, expect, passed, progress
from tests.faults.checker import prove
from tests.faults.killer import How, Killer, Victim, kill_figures, make_plan
from tests.faults.site import Site, built_site

NAME: Final = "kill-and-check"
DEVICES: Final = 200
AGENTS: Final = 4
DURATION_S: Final = 180.0
KILLS: Final = 6
MIN_KILLS: Final = 5
DRAIN_S: Final = 150.0  # a back-off of an agent may take a minute
LOOK_EVERY_S: Final = 10.0
OUTAGES: Final = 4
FIRST_OUTAGE_S: Final = 10.0
OUTAGE_EVERY_S: Final = 42.0
OUTAGE_S: Final = 25.0  # longer than an agent is ever down, so that none is missed
GATEWAY_POINTS: Final = (
    "gateway.fence",
    "gateway.commit.before",
    "gateway.commit.after",
    "gateway.puback",
    "gateway.hello",
)
AGENT_POINTS: Final = (
    "agent.spool.append",
    "agent.spool.fsync",
    "agent.spool.rename",
    "agent.publish",
    "agent.puback",
)


class Watch:
    """What is done and looked at while the killer works: power failures, and the table as it fills."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._looked_s = 0.0
        self._pulled: dict[int, bool] = {}
        self.looks = 0

    def __call__(self, at_s: float) -> None:
        """About once a second."""
        self._work_the_mains(at_s)
        if at_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = at_s
            self._look(at_s)

    def _work_the_mains(self, at_s: float) -> None:
        for group in range(OUTAGES):
            began_s = FIRST_OUTAGE_S + group * OUTAGE_EVERY_S
            if group not in self._pulled and at_s >= began_s:
                self._pulled[group] = True
                self._order(group, "off")
            if self._pulled.get(group) and at_s >= began_s + OUTAGE_S:
                self._pulled[group] = False
                self._order(group, "on")

    def _order(self, group: int, word: str) -> None:
        for number, name in enumerate(self._site.device_ids):
            if number // AGENTS % OUTAGES == group:
                self._site.order(name, "mains", word)

    def _look(self, at_s: float) -> None:
        """What is acknowledged must be stored at any moment at which the database can be asked."""
        evidence = self._site.evidence()
        try:
            verdict = self._site.verdict(evidence)
        except (psycopg.OperationalError, FileNotFoundError):
            progress(f"{at_s:3.0f} s: the database is down")
            return
        complaints = verdict.complaints(drained=False)
        expect(not complaints, "; ".join(complaints))
        self.looks += 1
        progress(f"{at_s:3.0f} s: {verdict.figures()}")

    def finish(self) -> None:
        """Every outage was begun and ended."""
        expect(self._pulled == dict.fromkeys(range(OUTAGES), False), f"outages: {self._pulled}")


def event_figures(site: Site) -> str:
    """Every device must have told its power failure and the end of it; what was found."""
    told = repeated = 0
    for device_id, kinds in site.events().items():
        power = [kind for kind in kinds if kind in {EventKind.ON_BATTERY, EventKind.MAINS_BACK}]
        edges = [kind for number, kind in enumerate(power) if number == 0 or power[number - 1] != kind]
        wanted = [EventKind.ON_BATTERY.value, EventKind.MAINS_BACK.value]
        expect(edges == wanted, f"device {device_id} told {kinds} of one power failure")
        told += len(edges)
        repeated += len(power) - len(edges)
    return f"{told} of {2 * len(site.device_ids)} power events, {repeated} told again after a kill"


def check(site: Site, seed: int) -> str:
    """The whole check on a running site; its figures."""
    victims = {
        "postgres": Victim(site.postgres, hows=[How.ALL, How.BELOW]),
        "gateway": Victim(site.gateway, points=GATEWAY_POINTS, passings=300),
        **{agent.name: Victim(agent, points=AGENT_POINTS, passings=300) for agent in site.agents},
    }
    watch = Watch(site)
    plan = make_plan(random.Random(seed), victims, kills=KILLS, duration_s=DURATION_S)
    before = site.verdict()
    began = time.monotonic()
    Killer(victims, plan).run(DURATION_S, watch)
    watch.finish()
    lasted_s = time.monotonic() - began
    sent = site.verdict().spooled - before.spooled
    progress(f"{kill_figures(victims)}; {sent} samples in {lasted_s:.0f} s; now the drain")
    for name, victim in victims.items():
        expect(victim.kills >= MIN_KILLS, f"{name} was killed only {victim.kills} times")
        expect(not victim.unplanned, f"{name} ended by itself: {victim.unplanned}")
    drained_s = site.drain(DRAIN_S)
    site.postgres.kill()
    site.postgres.start().wait_ready()  # what was acknowledged last outlives one more
    evidence = site.evidence()
    verdict = site.verdict(evidence)
    complaints = verdict.complaints(drained=True)
    expect(not complaints, "; ".join(complaints))
    rejected, reason = site.rejected()
    expect(rejected == 0, f"{rejected} messages were rejected: {reason}")
    alarms = site.alarms()
    expect(not alarms, f"{len(alarms)} errors in the logs: {alarms[:3]}")
    events = event_figures(site)
    prove(site.cloud.dsn, evidence)
    rate = sent / lasted_s / DEVICES
    return (
        f"{verdict.figures()}; {rate:.2f} samples a device and second in {lasted_s:.0f} s;"
        f" {kill_figures(victims)}; {watch.looks} looks in between; drained in {drained_s:.1f} s; {events};"
        f" the checker saw a planted loss and a planted duplicate; KILL_SEED={seed}"
    )


def main() -> int:
    """Run the check; the exit status."""
    seed = int(os.environ.get("KILL_SEED") or secrets.randbelow(1_000_000))
    folder = Path(tempfile.mkdtemp(prefix="kill-and-check-"))
    try:
        with built_site(folder, devices=DEVICES, agents=AGENTS) as site:
            return passed(NAME, check(site, seed))
    except CheckError as error:
        raise CheckError(f"{error} (KILL_SEED={seed})") from error
    finally:
        shutil.rmtree(folder)
