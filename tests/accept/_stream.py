"""Devices that stream telemetry, in a process of their own: each publishes at its pace, PUBACKs are timed.

``python -m tests.accept._stream CONFIG OUT`` runs until SIGTERM. CONFIG is JSON (``host``, ``port``,
``ca_pem``, ``audience``, ``period_s``, ``devices``: ``key`` in hex, ``device_id``, ``epoch``). OUT gets a
line a sample, ``DUE_S LATENCY_MS``: when it was due by the monotonic clock, and how long after that its
PUBACK came, which is sent once the sample is committed; so a stall counts for all the samples it delayed.
"""

import asyncio
import json
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Final, TextIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol import topics
from protocol.codec import pack_batch, pack_sample
from protocol.identity import kid_of
from protocol.mqtt import V5, ConnAck, Connect, Packet, PubAck, Publish, Reader, encode
from protocol.signing import login_token, public_bytes
from tests.accept import CheckError, expect

KEEP_ALIVE_S: Final = 600
TOKEN_LIFE_MS: Final = 3_000_000
CONNECTED_PER_S: Final = 50
ON_LINE: Final = 2


class Streamer:
    """One owned device."""

    def __init__(self, config: dict[str, Any], device: dict[str, Any], out: TextIO) -> None:
        self._config = config
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(device["key"]))
        self._device_id = device["device_id"]
        self._kid = kid_of(public_bytes(self._key))
        stream = time.time_ns() // 1_000_000
        self._topic = topics.telemetry(self._kid, device["epoch"], stream)
        self._out = out
        self._packets = Reader(from_client=False, version=V5)

    async def run(self, first_s: float, tls: ssl.SSLContext) -> None:
        """Log in, and from ``first_s`` on publish. CheckError where anything is refused."""
        await self._log_in(tls)
        seq, due_s = 0, first_s
        while True:
            await asyncio.sleep(due_s - time.monotonic())
            seq += 1
            packet_id = (seq - 1) % 65_535 + 1
            self._send(Publish(self._topic, pack_batch([self.sample(seq)]), qos=1, packet_id=packet_id))
            answer = await self._receive()
            took_ms = 1000 * (time.monotonic() - due_s)
            acked = isinstance(answer, PubAck) and answer.packet_id == packet_id and answer.reason == 0
            expect(acked, f"a sample was answered with {answer}")
            self._out.write(f"{due_s:.6f} {took_ms:.3f}\n")
            due_s += self.pause_s()

    def sample(self, seq: int) -> bytes:
        """What it measures now."""
        return _sample(seq)

    def pause_s(self) -> float:
        """Until its next sample is due."""
        return float(self._config["period_s"])

    async def _log_in(self, tls: ssl.SSLContext) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._config["host"], self._config["port"], ssl=tls
        )
        iat_ms = time.time_ns() // 1_000_000
        token = login_token(
            self._key,
            audience=self._config["audience"],
            device_id=self._device_id,
            iat_ms=iat_ms,
            exp_ms=iat_ms + TOKEN_LIFE_MS,
        )
        self._send(Connect(self._kid, V5, True, KEEP_ALIVE_S, self._kid, token.encode()))
        answer = await self._receive()
        expect(isinstance(answer, ConnAck) and answer.code == 0, f"a log-in was answered with {answer}")

    def _send(self, packet: Packet) -> None:
        self._writer.write(encode(packet, V5))

    async def _receive(self) -> Packet:
        while True:
            data = await self._reader.read(65_536)
            if not data:
                raise CheckError("the gateway closed the connection of a device that streams")
            for packet in self._packets.feed(data):
                return packet


def _sample(seq: int) -> bytes:
    return pack_sample(
        {"ts": time.time_ns() // 1_000_000, "seq": seq, "ups_status": ON_LINE, "output_voltage": 230.0}
    )


async def stream(config: dict[str, Any], out: TextIO, kind: type[Streamer] = Streamer) -> None:
    """All devices, evenly spread over the period, until SIGTERM."""
    tls = ssl.create_default_context(cadata=config["ca_pem"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    devices = [kind(config, device, out) for device in config["devices"]]
    begins_s = time.monotonic() + 1 + len(devices) / CONNECTED_PER_S
    tasks: set[asyncio.Task[Any]] = {asyncio.ensure_future(stop.wait())}
    for number, device in enumerate(devices):
        first_s = begins_s + number / len(devices) * config["period_s"]
        tasks.add(asyncio.ensure_future(device.run(first_s, tls)))
        await asyncio.sleep(1 / CONNECTED_PER_S)
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    for task in done:
        task.result()


def main(config_path: str, out_path: str, kind: type[Streamer] = Streamer) -> int:
    """Stream until SIGTERM; the exit status."""
    config = json.loads(Path(config_path).read_bytes())
    with Path(out_path).open("w", encoding="ascii", buffering=1) as out:
        asyncio.run(stream(config, out, kind))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
