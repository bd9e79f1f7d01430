"""``interop``: MQTT clients that other people wrote send telemetry to the real gateway, and are refused.

mosquitto_pub (subscriptions: mosquitto_sub), paho, gmqtt and aiomqtt, each with MQTT 3.1.1 and 5 over TLS.
What they may send is looked up in the table, row by row. What they must not do is judged by the exact codes
they are told, by the reason that the gateway writes down, and by the table, to which it adds nothing.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version as version_of
from pathlib import Path

from cloud import logs
from protocol.mqtt import V5
from tests.accept import expect, passed, progress
from tests.accept._mosquitto import SENT_WITHOUT_RETAIN, Mosquitto, kept_back
from tests.support.interop import (
    ESSENTIAL,
    FURTHER,
    VERSIONS,
    Claimed,
    Refusal,
    claim_device,
    logged_refusals,
    make_owner,
    wait_for_refusal,
)
from tests.support.mqtt_clients import LIBRARIES, Action, Driver, Filter, Message, Seen
from tests.support.parts import CloudParts, running_parts

NAME = "interop"
ROUNDS = 5
"""Messages of each format that each client sends with each version."""
PACE_S = 0.07
"""Between two refusals: of more than 20 a second the gateway counts some without a log line each."""


def main() -> int:
    """Run the check; the exit status."""
    logs.configure(NAME, level="critical")  # the libraries say a lot about refusals
    with tempfile.TemporaryDirectory(prefix="interop-") as directory:
        work = Path(directory)
        mosquitto = Mosquitto.find(work)
        with running_parts(work / "cloud", ("postgres", "gateway")) as cloud:
            check = Check(cloud, {"mosquitto_pub": mosquitto, **LIBRARIES})
            rows = sum(check.accepted(name, version) for name, version in check.pairs())
            refused = sum(check.refused(name, version) for name, version in check.pairs())
            further = sum(check.further("paho", version) for version in VERSIONS)
        packages = ", ".join(f"{name} {version_of(_PACKAGE.get(name, name))}" for name in LIBRARIES)
        return passed(
            NAME,
            f"mosquitto_pub {mosquitto.version}, {packages}, each with MQTT 3.1.1 and 5 over TLS: {rows} rows"
            f" as sent; {refused} refusals with the exact codes ({check.kept_back} of them kept back by"
            " mosquitto_pub, which heeds the limits in the CONNACK), and with paho"
            f" {further} further ones; no refused message left a row",
        )


_PACKAGE = {"paho": "paho-mqtt"}


class Check:
    """One run against one gateway; a new device for each client and version."""

    def __init__(self, cloud: CloudParts, clients: Mapping[str, Driver]) -> None:
        self._cloud = cloud
        self._log = cloud.parts["gateway"].log
        self._clients = clients
        self._owner = make_owner(cloud)
        self.kept_back = 0
        self._next_s = 0.0

    def pairs(self) -> Iterator[tuple[str, int]]:
        """Every client with every version."""
        for name in self._clients:
            for version in VERSIONS:
                yield name, version

    def accepted(self, name: str, version: int) -> int:
        """Send both formats; the number of rows that arrived as they were sent."""
        device = claim_device(self._cloud, self._owner)
        messages = [device.telemetry(as_json=bool(i % 2)) for i in range(2 * ROUNDS)]
        for part in self._portions(name, messages):
            seen = self._clients[name](device.login(), version, part)
            told = Seen(connect=0, acks=[0] * len(part))
            expect(seen == told, f"{name} {VERSIONS[version]} was told {seen} of good telemetry")
        self._expect_rows(device, f"{name} {VERSIONS[version]}")
        progress(f"{name} {VERSIONS[version]}: {len(device.accepted)} rows as sent")
        return len(device.accepted)

    def _portions(self, name: str, messages: list[Message]) -> list[list[Message]]:
        """What one connection sends: one message with mosquitto_pub, all of them with a library."""
        return [messages] if name in LIBRARIES else [[message] for message in messages]

    def refused(self, name: str, version: int) -> int:
        """What the acceptance names; the number of refusals."""
        device = claim_device(self._cloud, self._owner)
        for refusal in ESSENTIAL:
            self._judge(device, name, version, refusal)
        self._expect_rows(device, f"{name} {VERSIONS[version]}")
        progress(f"{name} {VERSIONS[version]}: {len(ESSENTIAL)} refusals")
        return len(ESSENTIAL)

    def further(self, name: str, version: int) -> int:
        """What else is refused; the number of refusals."""
        device = claim_device(self._cloud, self._owner)
        for refusal in FURTHER:
            self._judge(device, name, version, refusal)
        self._expect_rows(device, f"{name} {VERSIONS[version]}")
        progress(f"{name} {VERSIONS[version]}: {len(FURTHER)} further refusals")
        return len(FURTHER)

    def _judge(self, device: Claimed, name: str, version: int, refusal: Refusal) -> None:
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = time.monotonic() + PACE_S
        start = self._log.stat().st_size
        actions = refusal.actions(device)
        if (
            name not in LIBRARIES
            and version == V5
            and self._keeps_back(device, name, refusal, actions, start)
        ):
            return
        told = refusal.told[version]
        if name in LIBRARIES and told.connect == 0 and told.ended is None:  # the session has to go on
            actions.append(device.telemetry())
            told = Seen(told.connect, [*told.acks, 0], told.granted, None)
        seen = self._clients[name](refusal.login(device), version, actions)
        what = f"{refusal.name}: {name} {VERSIONS[version]}"
        expect(seen == told, f"{what} was told {seen}, not {told}")
        wait_for_refusal(self._log, start, refusal.logged[version])

    def _keeps_back(
        self, device: Claimed, name: str, refusal: Refusal, actions: list[Action], start: int
    ) -> bool:
        """Whether mosquitto_pub knew better than to send it; then nothing is left to refuse."""
        message = actions[0]
        if isinstance(message, Filter) or refusal.told[V5].ended is None:
            return False
        if refusal.name == SENT_WITHOUT_RETAIN:
            message = device.telemetry(retain=True)
        seen = self._clients[name](refusal.login(device), V5, [message])
        expect(kept_back(refusal.name, message, seen), f"{refusal.name}: {name} 5 was told {seen}")
        expect(not logged_refusals(self._log, start), f"{refusal.name}: the gateway had to refuse it")
        self.kept_back += 1
        return True

    def _expect_rows(self, device: Claimed, what: str) -> None:
        stored = device.stored()
        expect(
            stored == device.accepted,
            f"{what}: {len(stored)} rows in the table, {len(device.accepted)} accepted, or they differ",
        )
