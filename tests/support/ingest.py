"""Telemetry as devices send it, and devices that are owned: for tests of the way into the database."""

import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import psycopg

from cloud.core.batch import Upload
from protocol.codec import pack_batch, pack_sample
from protocol.points import POINTS
from protocol.topics import UpKind, UpTopic
from tests.support.claiming import make_actors

KID: Final = "k" * 27
NOW_MS: Final = time.time_ns() // 1_000_000
"""When this run began: a time whose day has a partition."""


def sample(seq: int, ts_ms: int = NOW_MS, **values: float) -> dict[str, float]:
    """One sample; what is not given is derived from ``seq``, so that every column differs."""
    made: dict[str, float] = {}
    for point in POINTS:
        made[point.name] = min(point.high, seq % 100 + point.number)
    return {**made, "ts": ts_ms, "seq": seq, "flags": 0, **values}


def protobuf(samples: Iterable[dict[str, float]]) -> bytes:
    """A payload in the constant layout."""
    return pack_batch(pack_sample(values) for values in samples)


def json(samples: Iterable[dict[str, float]]) -> bytes:
    """The same in JSON."""
    return msgspec.json.encode(list(samples))


def upload(
    payloads: Sequence[bytes], stream: int = 1, epoch: int = 1, *, as_json: bool = False, kid: str = KID
) -> Upload:
    """Messages as a connection hands them over: joined where all are of one size."""
    topic = UpTopic(kid, UpKind.TELEMETRY, epoch, stream, as_json)
    ids = b"".join(i.to_bytes(2, "big") for i in range(1, len(payloads) + 1))
    sizes = {len(payload) for payload in payloads}
    if len(sizes) == 1 and 0 not in sizes:
        return Upload(
            len(payloads),
            topic=topic,
            ids=ids,
            joined=b"".join(payloads),
            size=sizes.pop(),
            messages=len(payloads),
        )
    return Upload(len(payloads), topic=topic, ids=ids, payloads=list(payloads), messages=len(payloads))


def own_devices(
    dsn: str, device_ids: Sequence[int], *, session_no: int = 1, epoch: int = 1, kid: str = KID
) -> None:
    """Devices that somebody owns, each with a bound key of this name, logged in once."""
    actor = make_actors(dsn, 1)[0]
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO device (device_id, product_id, label_pub, last_epoch, created_ms)"
            " VALUES (%s, 'P', '', %s, 1)",
            [(device, epoch) for device in device_ids],
        )
        cursor.executemany(
            "INSERT INTO device_key (device_id, kid, device_pub, state, login_ms, announced_ms, smartconnect,"
            " announcement, created_ms) VALUES (%s, %s, 'pub', 'bound', %s, 1, true, '', 1)",
            [(device, kid, session_no) for device in device_ids],
        )
        cursor.executemany(
            "INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)"
            " VALUES (%s, %s, %s, %s, %s, 1)",
            [(device, epoch, actor.company_id, actor.account_id, kid) for device in device_ids],
        )
        cursor.executemany(
            "INSERT INTO latest (device_id, session_no, epoch, kid) VALUES (%s, %s, %s, %s)",
            [(device, session_no, epoch, kid) for device in device_ids],
        )
