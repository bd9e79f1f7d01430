"""What a third party's MQTT client may and may not do at the gateway: devices to do it with, and the answers.

The expected codes are written by hand from docs/gateway.md and the two MQTT standards; nothing here asks
``cloud.core.session``.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.core.authz import Actor
from cloud.postgres.pool import make_pool
from cloud.services import claiming
from protocol.columns import Batch
from protocol.identity import ProductId
from protocol.mqtt import V5, V311
from protocol.signing import login_token, public_bytes
from tests.support.claiming import make_actors
from tests.support.device import WireDevice
from tests.support.mqtt_clients import CLOSED, Action, Filter, Login, Message, Seen
from tests.support.stack import Cloud

VERSIONS: Final = {V311: "3.1.1", V5: "5"}
LOG_TIMEOUT_S: Final = 5.0
OVERSIZED_BYTES: Final = 262_145
"""One more than ``max_packet_bytes``."""
HOUR_MS: Final = 3_600_000


@dataclass
class Claimed:
    """A device that somebody owns, whose messages a third party's client sends."""

    cloud: Cloud
    wire: WireDevice
    epoch: int
    stream: int
    accepted: list[dict[str, float]] = field(default_factory=list)
    """The samples that have to be in the table, in order."""
    _seq: int = 0

    @property
    def kid(self) -> str:
        """Its name."""
        return self.wire.kid

    def login(self, **changes: str) -> Login:
        """A log-in that is valid once; ``changes`` spoil it."""
        installation = self.cloud.installation
        valid = Login(
            host=installation.gateway_host,
            port=self.cloud.gateway_port,
            ca_pem=installation.ca_pem,
            client_id=self.kid,
            username=self.kid,
            password=self.wire.fresh_token(),
        )
        return replace(valid, **changes)  # type: ignore[arg-type]  # the text fields only

    def sample(self) -> dict[str, float]:
        """The next sample; what is not named is not available."""
        self._seq += 1
        return {
            "ts": time.time_ns() // 1_000_000 + self._seq,
            "seq": self._seq,
            "ups_status": 2,
            "input_voltage": 229.5 + self._seq % 8 / 8,
            "state_of_charge": 97.25,
            "output_energy": 1234.5 + self._seq,
        }

    def telemetry(self, *, as_json: bool = False, **changes: Any) -> Message:
        """A message of two samples in either format, encoded by other people's libraries."""
        samples = [self.sample(), self.sample()]
        self.accepted += samples
        payload = json.dumps(samples).encode() if as_json else Batch(samples=samples).SerializeToString()
        return replace(Message(self.topic(as_json=as_json), payload), **changes)

    def refused(self, **changes: Any) -> Message:
        """A message that would be fine but for ``changes``; its samples must not arrive."""
        payload = Batch(samples=[self.sample()]).SerializeToString()
        return replace(Message(self.topic(), payload), **changes)

    def topic(self, *, as_json: bool = False, epoch_step: int = 0) -> str:
        """Where its telemetry goes; ``epoch_step`` off the present epoch."""
        ending = "/json" if as_json else ""
        return f"d/{self.kid}/telemetry/{self.epoch + epoch_step}/{self.stream}{ending}"

    def stored(self) -> list[dict[str, float]]:
        """Its samples in the table, in order of their position."""
        with psycopg.connect(self.cloud.dsn) as connection:
            found = connection.execute(
                "SELECT (extract(epoch FROM ts) * 1000)::bigint, seq, ups_status, input_voltage,"
                " state_of_charge, output_energy FROM v_telemetry"
                " WHERE device_id = %s AND epoch = %s AND stream = %s ORDER BY seq",
                (self.wire.device_id, self.epoch, self.stream),
            ).fetchall()
        names = ("ts", "seq", "ups_status", "input_voltage", "state_of_charge", "output_energy")
        return [dict(zip(names, row, strict=True)) for row in found]


def claim_device(cloud: Cloud, owner: Actor) -> Claimed:
    """A new device, announced over MQTT and claimed; it is not connected."""
    wire = WireDevice(cloud.installation, cloud.key_set)
    with wire:
        wire.announce()
        state = submit_claim(cloud, owner, wire.product_id, public_bytes(wire.label))
        if state != "won":
            raise RuntimeError(f"the claim stands at {state}")
        epoch = wire.wait_owned().epoch
    return Claimed(cloud, wire, epoch, stream=time.time_ns() // 1_000_000)


def submit_claim(cloud: Cloud, owner: Actor, product_id: ProductId, label_pub: bytes) -> str:
    """The person's half of a claim; where it stands then."""

    async def work() -> str:
        async with make_pool(cloud.dsn, name="claim", max_size=1) as pool:
            now_ms = time.time_ns() // 1_000_000
            return (await claiming.submit(pool, owner, product_id, label_pub, now_ms)).state

    return asyncio.run(work())


def make_owner(cloud: Cloud) -> Actor:
    """Somebody who may claim devices."""
    return make_actors(cloud.dsn, 1)[0]


# --- refusals -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that is refused: how to try it, and by version what the client is told and the log says."""

    name: str
    actions: Callable[[Claimed], list[Action]]
    told: Mapping[int, Seen]
    logged: Mapping[int, int]
    login: Callable[[Claimed], Login] = Claimed.login


def _by_version(v311: Any, v5: Any) -> dict[int, Any]:
    return {V311: v311, V5: v5}


def _no_login(name: str, login: Callable[[Claimed], Login], v311: int, v5: int) -> Refusal:
    """Refused in the CONNACK."""
    told = _by_version(Seen(connect=v311), Seen(connect=v5))
    return Refusal(name, lambda device: [device.refused()], told, _by_version(v5, v5), login)


def _no_publish(name: str, message: Callable[[Claimed], Message], reason: int) -> Refusal:
    """Refused in the PUBACK, and the session goes on; with 3.1.1 the connection is closed."""
    told = _by_version(Seen(connect=0, ended=CLOSED), Seen(connect=0, acks=[reason]))
    return Refusal(name, lambda device: [message(device)], told, _by_version(reason, reason))


def _ends(name: str, message: Callable[[Claimed], Message], reason: int) -> Refusal:
    """Ends the connection; with 5 a DISCONNECT says why."""
    told = _by_version(Seen(connect=0, ended=CLOSED), Seen(connect=0, ended=reason))
    return Refusal(name, lambda device: [message(device)], told, _by_version(reason, reason))


def _no_subscribe(name: str, topic: Callable[[Claimed], str], reason: int) -> Refusal:
    """Refused in the SUBACK, and the session goes on."""
    told = _by_version(Seen(connect=0, granted=[0x80]), Seen(connect=0, granted=[reason]))
    return Refusal(name, lambda device: [Filter(topic(device))], told, _by_version(0x80, reason))


def _token(device: Claimed, *, age_ms: int = 0, audience: str | None = None) -> Login:
    iat_ms = time.time_ns() // 1_000_000 - age_ms
    token = login_token(
        device.wire.key,
        audience=audience or device.cloud.installation.audience,
        device_id=device.wire.device_id,
        iat_ms=iat_ms,
        exp_ms=iat_ms + HOUR_MS,
    )
    return device.login(password=token)


def _signed_by_another_key(device: Claimed) -> Login:
    iat_ms = time.time_ns() // 1_000_000
    token = login_token(
        Ed25519PrivateKey.generate(),
        audience=device.cloud.installation.audience,
        device_id=device.wire.device_id,
        iat_ms=iat_ms,
        exp_ms=iat_ms + HOUR_MS,
    )
    return device.login(password=token)


def _bad_signature(device: Claimed) -> Login:
    valid = device.login()
    head, _, signature = valid.password.rpartition(".")
    return replace(valid, password=f"{head}.{signature[::-1]}")


def _used_token(device: Claimed) -> Login:
    token = device.wire.fresh_token()
    device.wire.connect(token)
    device.wire.close()
    return device.login(password=token)


def _foreign(kind: str) -> Callable[[Claimed], str]:
    return lambda device: f"d/{'A' * len(device.kid)}/{kind}"


ESSENTIAL: Final = (
    _no_login("bad token", _bad_signature, 4, 0x86),
    _no_publish("foreign topic", lambda d: d.refused(topic=_foreign("announce")(d)), 0x87),
    _no_subscribe("wildcard subscribe", lambda d: f"d/{d.kid}/#", 0xA2),
    _ends("QoS 2", lambda d: d.refused(qos=2), 0x9B),
    _ends("retained", lambda d: d.refused(retain=True), 0x9A),
    _ends("oversized packet", lambda d: d.refused(payload=bytes(OVERSIZED_BYTES)), 0x95),
)
"""What the acceptance names; every client tries them."""

FURTHER: Final = (
    _no_login("token of another key", _signed_by_another_key, 4, 0x86),
    _no_login("expired token", lambda d: _token(d, age_ms=2 * HOUR_MS), 4, 0x86),
    _no_login("token for another cloud", lambda d: _token(d, audience="elsewhere"), 4, 0x86),
    _no_login("token used before", _used_token, 4, 0x86),
    _no_login("token that is none", lambda d: d.login(password="open sesame"), 4, 0x86),
    _no_login("user name of another", lambda d: d.login(username="somebody"), 4, 0x86),
    _no_login("client id that is no kid", lambda d: d.login(client_id="lamp", username="lamp"), 2, 0x85),
    _no_publish("foreign telemetry", lambda d: d.refused(topic=_foreign("telemetry/1/1")(d)), 0x87),
    _no_publish("topic outside the tree", lambda d: d.refused(topic="sensors/1"), 0x90),
    _no_publish("epoch above", lambda d: d.refused(topic=d.topic(epoch_step=1)), 0x87),
    _no_subscribe("foreign control", _foreign("control"), 0x87),
    _no_subscribe("everything", lambda _: "#", 0xA2),
    _no_subscribe("shared subscription", lambda d: f"$share/group/d/{d.kid}/control", 0x9E),
)
"""What else the gateway refuses."""


def logged_refusals(log: Path, start: int) -> list[int]:
    """Reason codes of the refusals that the gateway wrote down from this byte on."""
    lines = log.read_bytes()[start:].splitlines()
    entries = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
    return [int(entry["code"], 16) for entry in entries if entry["event"] == "refused"]


def wait_for_refusal(log: Path, start: int, code: int) -> None:
    """Until the gateway has written down a refusal with this code. TimeoutError."""
    deadline = time.monotonic() + LOG_TIMEOUT_S
    while code not in (found := logged_refusals(log, start)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the gateway's log has {[f'{each:#x}' for each in found]}, not {code:#x}")
        time.sleep(0.01)
