"""Baseline: what a plain consumer does.

paho's ``on_message``, ``json.loads``, one INSERT with commit a message.

A persistent session, so that what the broker has not been acknowledged is delivered again: paho acknowledges
after the callback, which is after the commit. Stated once for fairness: prepared statement, one connection,
no per-message log, the table of the product with its primary key.
"""

import json
from typing import Any, Final

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from bench.consumer import TOPIC, Order, Progress, place_of, read_order, say
from protocol.points import VALUES

NAMES: Final = ("device_id", "ts", "stream", "seq", "epoch", *(point.name for point in VALUES))
INSERT: Final = "INSERT INTO telemetry ({}) VALUES ({})".format(
    ", ".join(NAMES),
    ", ".join("to_timestamp(%(ts)s / 1000.0)" if name == "ts" else f"%({name})s" for name in NAMES),
)


def consume(order: Order) -> None:
    """Store what comes until all is there."""
    progress = Progress(order.rows)
    with psycopg.connect(order.dsn, autocommit=True) as connection:
        cursor = connection.cursor()

        def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
            device_id, epoch, stream = place_of(message.topic, order.devices)
            found = json.loads(message.payload)
            samples = found if isinstance(found, list) else [found]
            rows = [{**s, "device_id": device_id, "epoch": epoch, "stream": stream} for s in samples]
            if len(rows) == 1:
                cursor.execute(INSERT, rows[0])
            else:
                with connection.transaction():
                    cursor.executemany(INSERT, rows)
            progress.committed(len(rows), samples[-1]["ts"])

        def on_subscribe(*_: Any) -> None:
            say({"ready": True})

        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="plain", clean_session=False)
        client.on_message = on_message
        client.on_subscribe = on_subscribe
        client.connect("127.0.0.1", order.port)
        client.subscribe(TOPIC, qos=1)
        client.loop_start()
        progress.wait()
        client.disconnect()
        client.loop_stop()
    say(progress.report())


if __name__ == "__main__":
    consume(read_order())
