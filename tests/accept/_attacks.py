"""What bad peers do to the gateway's port, and the line that each of it must leave in the gateway's log."""

import contextlib
import json
import math
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from protocol.columns import Batch
from protocol.errors import Reason
from protocol.mqtt import V5, V311
from tests.accept import expect, wait_until
from tests.accept._wire import TIMEOUT_S, Session, name_of, open_tcp, open_tls
from tests.support.interop import Claimed

LOG_WAIT_S = 5.0
PATIENCE_S = 15.0
"""The gateway gives a handshake 10 s, and a CONNECT as much."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one process, one JSON object a line."""

    path: Path

    def size(self) -> int:
        """Where it ends now."""
        return self.path.stat().st_size

    def entries(self, start: int = 0) -> list[dict[str, Any]]:
        """Whole lines from this byte on."""
        lines = self.path.read_bytes()[start:].splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    def expect_line(
        self, start: int, what: str, wanted: Mapping[str, object], timeout_s: float = LOG_WAIT_S
    ) -> dict[str, Any]:
        """The first line that holds all of ``wanted`` (texts: as a part). CheckError if none"""
        found: list[dict[str, Any]] = []

        def holds() -> bool:
            found[:] = [entry for entry in self.entries(start) if _matches(entry, wanted)]
            return bool(found)

        wait_until(f"{what}: a log line with {dict(wanted)}", holds, timeout_s, 0.01)
        return found[0]


def _matches(entry: Mapping[str, Any], wanted: Mapping[str, object]) -> bool:
    return all(
        value in str(entry.get(name, "")) if isinstance(value, str) else entry.get(name) == value
        for name, value in wanted.items()
    )


@dataclass
class Attacker:
    """Where the gateway is, and a device of its own whose messages are bad."""

    device: Claimed
    log: Log
    _half_open: list[socket.socket] = field(default_factory=list)

    @property
    def _place(self) -> tuple[str, int]:
        return self.device.cloud.installation.gateway_host, self.device.cloud.gateway_port

    def _tls(self) -> ssl.SSLSocket:
        return open_tls(*self._place, self.device.cloud.installation.ca_pem)

    # --- bytes that are no MQTT ---------------------------------------------------------------------------

    def plain_garbage(self) -> str:
        """Bytes that are no TLS; who we were."""
        with open_tcp(*self._place) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            _until_closed(line)
            return name_of(line)

    def garbage_in_tls(self) -> str:
        """A packet whose length never ends; who we were."""
        with self._tls() as line:
            line.sendall(b"\x10" + b"\xff" * 63)
            _until_closed(line)
            return name_of(line)

    def no_connect(self) -> str:
        """A well-made packet before any CONNECT; who we were."""
        with self._tls() as line:
            line.sendall(b"\xc0\x00")
            _until_closed(line)
            return name_of(line)

    def half_handshake(self) -> str:
        """Half of a ClientHello, and then nothing; who we are. `hang_up` ends it."""
        hello = _client_hello()
        line = open_tcp(*self._place)
        line.sendall(hello[: len(hello) // 2])
        self._half_open.append(line)
        return name_of(line)

    def silence(self) -> str:
        """A TLS handshake, and then nothing; who we are. `hang_up` ends it."""
        line = self._tls()
        self._half_open.append(line)
        return name_of(line)

    def hang_up(self) -> None:
        """Close what `half_handshake` and `silence` left open."""
        while self._half_open:
            self._half_open.pop().close()

    def huge_connect(self) -> str:
        """A CONNECT of 1 MiB, valid MQTT 5 but for its size; who we were."""
        properties = (b"\x26" + _text(b"name") + _text(bytes(65_530))) * 16
        body = _text(b"MQTT") + b"\x05\x02\x00\x3c" + _varint(len(properties)) + properties + _text(b"a")
        packet = b"\x10" + _varint(len(body)) + body
        expect(MIB < len(packet) < 1.2 * MIB, f"the CONNECT has {len(packet)} bytes")
        with self._tls() as line:
            with contextlib.suppress(OSError):  # closed before it has read all of it
                line.sendall(packet)
            _until_closed(line)
            return name_of(line)

    def once(
        self, what: str, do: Callable[[], str], wanted: Mapping[str, object], wait_s: float = LOG_WAIT_S
    ) -> str:
        """Do it, and find its line in the log: the reason given there."""
        start = self.log.size()
        peer = do()
        entry = self.log.expect_line(start, what, {"peer": peer, **wanted}, wait_s)
        return str(entry["reason"])

    # --- messages that cannot be used ---------------------------------------------------------------------

    def bad_messages(self) -> dict[str, tuple[str, bytes, str]]:
        """By name: topic, payload, and the code that the log line and the ``rejected`` row carry."""
        device = self.device
        topic, json_topic = device.topic(), device.topic(as_json=True)

        def protobuf(**values: float) -> tuple[str, bytes, str]:
            return topic, Batch(samples=[device.sample() | values]).SerializeToString(), "out_of_range"

        def text(**values: float) -> tuple[str, bytes, str]:
            return json_topic, json.dumps([device.sample() | values]).encode(), "out_of_range"

        whole = Batch(samples=[device.sample()]).SerializeToString()
        return {
            "protobuf cut short": (topic, whole[:-3], "malformed"),
            "protobuf of something else": (topic, b"\xff" * 40, "malformed"),
            "an empty payload": (topic, b"", "malformed"),
            "JSON cut short": (json_topic, json.dumps([device.sample()]).encode()[:-2], "malformed"),
            "JSON with a text for a number": (json_topic, b'[{"ts": 1, "seq": "two"}]', "malformed"),
            "JSON 10 000 lists deep": (json_topic, b"[" * 10_000, "malformed"),
            "a charge of 1000 %": protobuf(state_of_charge=1000.0),
            "a charge of 1000 % in JSON": text(state_of_charge=1000.0),
            "an infinite voltage": protobuf(input_voltage=math.inf),
            "a negative load in JSON": text(output_real_power_pct=-1.0),
            "a time in the year 2200": protobuf(ts=7_258_118_400_000),
            "a step of 2^40 in seq": protobuf(seq=2**40),
        }

    def send_bad(self, name: str, version: int) -> None:
        """One of them in a session: reason code (MQTT 5), log line, ``rejected`` row; the session goes on."""
        topic, payload, code = self.bad_messages()[name]
        session = Session.open(self.device.login(), version)
        try:
            peer, start, kept = name_of(session.line), self.log.size(), self.rejected(payload)
            reason = session.publish(topic, payload)
            wanted = Reason.PAYLOAD_FORMAT_INVALID if version == V5 else Reason.SUCCESS
            expect(reason == wanted, f"{name}: PUBACK with {reason:#x}")
            line = {"event": "message refused", "peer": peer, "code": code}
            self.log.expect_line(start, name, line)
            expect(self.rejected(payload) == kept + 1, f"{name}: not one more row in rejected")
            good = self.device.telemetry()
            expect(session.publish(good.topic, good.payload) == 0, f"{name}: the session does not go on")
        finally:
            session.close()

    def rejected(self, payload: bytes) -> int:
        """How often this message was kept aside, with its size and the beginning of it."""
        with psycopg.connect(self.device.cloud.dsn) as connection:
            row = connection.execute(
                "SELECT count(*) FROM rejected WHERE device_id = %s AND size_bytes = %s AND payload = %s",
                (self.device.wire.device_id, len(payload), payload[:1024]),
            ).fetchone()
        return int(row[0]) if row else 0

    def flood(self, until_s: float, pause_s: float) -> int:
        """All of it in turn until then, one a pause; how many."""
        session = Session.open(self.device.login())
        messages = [(topic, payload) for topic, payload, _ in self.bad_messages().values()]
        done = 0
        try:
            while time.monotonic() < until_s:
                tricks = (
                    self.plain_garbage,
                    self.garbage_in_tls,
                    self.no_connect,
                    self.half_handshake,
                    self.huge_connect,
                )
                tricks[done % len(tricks)]()
                topic, payload = messages[done % len(messages)]
                session.publish(topic, payload)
                done += 1
                time.sleep(pause_s)
        finally:
            self.hang_up()
            session.close()
        return done


VERSIONS = (V311, V5)


def _client_hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _until_closed(line: socket.socket) -> None:
    """Read until the other side has closed. TimeoutError where it does not."""
    line.settimeout(TIMEOUT_S)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while line.recv(65536):
            continue


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _varint(number: int) -> bytes:
    out = b""
    while True:
        number, digit = divmod(number, 128)
        out += bytes([digit | (0x80 if number else 0)])
        if not number:
            return out
