"""mosquitto_pub and mosquitto_sub as a driver of :mod:`tests.support.mqtt_clients`: one action a run.

With MQTT 5 they keep to what the CONNACK says the server offers: QoS 2 and an oversized packet are not even
sent, and a retained message is sent as an ordinary one.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.mqtt import V5
from tests.accept import CheckError
from tests.accept._clients import program
from tests.support.mqtt_clients import CLOSED, Action, Filter, Login, Message, Seen

PACKAGES = ("mosquitto-clients", "libmosquitto1", "libcjson1", "libc-ares2", "libssl3", "zlib1g", "libc6")
TIMEOUT_S = 20.0
NOT_SENT = ("QoS 2", "oversized packet")
SENT_WITHOUT_RETAIN = "retained"


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """Both programs; ``work`` is a directory for the files that they read."""

    work: Path
    publisher: tuple[str, ...]
    subscriber: tuple[str, ...]

    @classmethod
    def find(cls, work: Path) -> "Mosquitto":
        """As installed, or fetched. CheckError where neither works."""
        return cls(work, tuple(program("mosquitto_pub", PACKAGES)), tuple(program("mosquitto_sub", PACKAGES)))

    @property
    def version(self) -> str:
        """As it tells itself."""
        done = subprocess.run([*self.publisher, "--help"], capture_output=True, text=True, check=False)
        found = re.search(r"version (\S+)", done.stdout)
        return found[1] if found else "of unknown version"

    def __call__(self, login: Login, version: int, actions: Sequence[Action]) -> Seen:
        """Run one of them for the one action; what its debug lines say."""
        (action,) = actions
        authority = self.work / "ca.pem"
        authority.write_text(login.ca_pem, "ascii")
        command = [
            *(self.subscriber if isinstance(action, Filter) else self.publisher),
            *("-d", "-V", "mqttv5" if version == V5 else "mqttv311"),
            *("-h", login.host, "-p", str(login.port), "--cafile", str(authority)),
            *("-i", login.client_id, "-u", login.username, "-P", login.password),
            *self._what(action),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as late:
            raise CheckError(f"{Path(command[0]).name} did not end: {late.stdout!r}") from None
        return _read(done.stdout, done.stderr)

    def _what(self, action: Action) -> list[str]:
        if isinstance(action, Filter):
            return ["-q", "0", "-t", action.name]
        payload = self.work / "payload"
        payload.write_bytes(action.payload)
        retain = ["-r"] if action.retain else []
        return ["-q", str(action.qos), "-t", action.topic, "-f", str(payload), *retain]


def _read(output: str, complaints: str) -> Seen:
    codes = [int(code) for code in re.findall(r"received CONNACK \((\d+)\)", output)]
    ended = re.search(r"received DISCONNECT \((\d+)\)", output)
    lost = "The connection was lost" in complaints
    return Seen(
        connect=codes[0] if codes else None,
        acks=[int(code) for code in re.findall(r"received PUBACK \(Mid: \d+, RC:(\d+)\)", output)],
        granted=[int(code) for code in re.findall(r"^Subscribed \(mid: \d+\): (\d+)", output, re.MULTILINE)],
        ended=int(ended[1]) if ended else CLOSED if lost else None,
    )


def kept_back(name: str, message: Message, seen: Seen) -> bool:
    """Whether a client that knows the server's limits did what it should with such a message (MQTT 5)."""
    if name == SENT_WITHOUT_RETAIN:
        return message.retain and seen == Seen(connect=0, acks=[0])
    return name in NOT_SENT and seen == Seen(connect=0)
