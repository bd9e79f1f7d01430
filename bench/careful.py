"""Baseline: what a careful consumer does.

paho with manual acknowledgement, batches, numpy binary COPY, protobuf.

The network thread collects messages while the other thread stores the batch before; a message is acknowledged
after its commit. paho runs in our own loop, because its threads pay a system call for every acknowledgement,
and because its loop asks ``select`` again for every packet.
"""

import os
import select
import threading
import time
from collections import deque
from typing import Any, Final

import numpy as np
import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from bench.consumer import TOPIC, Order, Progress, place_of, read_order, say
from bench.copy_rows import COPY, copy_buffer, places_of
from protocol.columns import decode_payloads

BATCH_MAX: Final = 5000
READS: Final = 64  # packets read before acknowledgements get their turn


class Writer:
    """Stores batches in a thread of its own."""

    def __init__(self, order: Order, progress: Progress, wake_fd: int) -> None:
        self.arrived: deque[mqtt.MQTTMessage] = deque()
        self.stored: deque[int] = deque()
        self.pending = threading.Event()
        self.received = 0
        self._order = order
        self._progress = progress
        self._wake_fd = wake_fd
        self._places: dict[str, tuple[int, int, int]] = {}

    def take(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        """What paho calls for a message."""
        self.arrived.append(message)
        self.received += 1

    def run(self) -> None:
        """Forever: take what has arrived, COPY, commit, hand over what may be acknowledged."""
        with psycopg.connect(self._order.dsn, autocommit=True) as connection:
            while True:
                self.pending.wait()
                self.pending.clear()
                while count := min(len(self.arrived), BATCH_MAX):
                    self._store(connection, [self.arrived.popleft() for _ in range(count)])

    def _store(self, connection: psycopg.Connection[Any], batch: list[mqtt.MQTTMessage]) -> None:
        decoded = decode_payloads([bytes(message.payload) for message in batch])
        places = places_of([self._place(message.topic) for message in batch], decoded.counts)
        with connection.cursor().copy(COPY) as copy:
            copy.write(copy_buffer(decoded.rows, places))
        self.stored.extend(message.mid for message in batch)
        os.write(self._wake_fd, b"1")
        self._progress.committed(len(decoded.rows), float(np.median(decoded.rows["ts"])))

    def _place(self, topic: str) -> tuple[int, int, int]:
        found = self._places.get(topic)
        if found is None:
            found = self._places[topic] = place_of(topic, self._order.devices)
        return found


def consume(order: Order) -> None:
    """Store what comes until all is there."""
    progress = Progress(order.rows)
    wake_read, wake_write = os.pipe()
    writer = Writer(order, progress, wake_write)
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="careful", clean_session=False, manual_ack=True
    )
    client.on_message = writer.take
    client.on_subscribe = lambda *_: say({"ready": True})
    client.on_socket_register_write = lambda *_: None  # our loop writes; paho must not at every ack
    client.connect("127.0.0.1", order.port)
    client.subscribe(TOPIC, qos=1)
    threading.Thread(target=writer.run, name="writer", daemon=True).start()
    waiting = threading.Thread(target=progress.wait, name="waiting")
    waiting.start()
    line: Any = client.socket()
    last_misc = 0.0
    while waiting.is_alive() or client.want_write():
        readable, _, _ = select.select([line, wake_read], [line] if client.want_write() else [], [], 0.1)
        if line in readable:
            _read(client, writer)
            writer.pending.set()
        if wake_read in readable:
            os.read(wake_read, 4096)
        while writer.stored:
            client.ack(writer.stored.popleft(), 1)
        client.loop_write()
        if time.monotonic() - last_misc > 1.0:
            client.loop_misc()
            last_misc = time.monotonic()
    say(progress.report())


def _read(client: mqtt.Client, writer: Writer) -> None:
    """Some packets, as long as they bring messages."""
    for _ in range(READS):
        before = writer.received
        client.loop_read()
        if writer.received == before:
            return


if __name__ == "__main__":
    consume(read_order())
