"""Telemetry as devices send it, and devices that are owned: for tests of the way into the database."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import psycopg

from cloud.core.batch import build_table, sift
from cloud.core.upload import Fence, Upload
from cloud.postgres.telemetry import Batch, EventRow, RejectedRow, Store
from protocol.codec import pack_batch, pack_sample
from protocol.points import POINTS
from protocol.topics import UpKind, UpTopic
from tests.support.claiming import make_actors

ONE: Final = 1
TWO: Final = 2
KID: Final = "k" * 27
BEGUN: Final = Fence(1, 1, 0, 0)
"""What ``latest`` says of a device that was just claimed, see :func:`own_devices`."""
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


def run(dsn: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Rows of one statement, committed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def make_batch(
    store: Store,
    sent: Mapping[int, Sequence[dict[str, float]]],
    fences: Mapping[int, Fence] | None = None,
    *,
    stream: int = 1,
    days: frozenset[int] | None = None,
    **more: Any,
) -> Batch:
    """A batch of these devices' samples, one message each, as a writer makes it; ``more`` goes into it."""
    devices = sorted(sent)
    held = [(fences or {}).get(device, BEGUN) for device in devices]
    uploads = [
        upload([protobuf([one]) for one in sent[device]], stream) for device in devices if sent[device]
    ]
    shares = [share for share, device in enumerate(devices) if sent[device]]
    sifted = sift(uploads, shares, held, NOW_MS)
    table = build_table(
        sifted, held, devices, [None] * len(devices), NOW_MS, store.days if days is None else days
    )
    return Batch(NOW_MS, devices, table.fence, table.copies, **more)


def event(seq: int = 1, **changes: Any) -> EventRow:
    """An event of device ONE."""
    made = EventRow(ONE, 1, seq, 1, NOW_MS, NOW_MS, time_uncertain=False, kind="on_battery", values={"v": 1})
    return replace(made, **changes)


def rejected(**changes: Any) -> RejectedRow:
    """A refused message of device ONE."""
    return replace(RejectedRow(ONE, NOW_MS, KID, "telemetry/1/1", "malformed", "why", b"\xff"), **changes)


def stored(dsn: str) -> list[tuple[int, int, int]]:
    """(device_id, stream, seq) of all telemetry."""
    return run(dsn, "SELECT device_id, stream, seq FROM v_telemetry ORDER BY 1, 2, 3")


def positions(dsn: str) -> list[tuple[int, int, int]]:
    """(device_id, stream, seq) of what is owned."""
    return run(dsn, "SELECT device_id, stream, seq FROM latest ORDER BY 1")


def counts(dsn: str) -> tuple[int, ...]:
    """Rows of telemetry, events and rejected."""
    return tuple(
        run(dsn, f"SELECT count(*) FROM {table}")[0][0] for table in ("v_telemetry", "event", "rejected")
    )


def everything(store: Store) -> Batch:
    """A batch with something for every table."""
    return make_batch(
        store, {ONE: [sample(1), sample(2)], TWO: [sample(1)]}, events=[event()], rejected=[rejected()]
    )


NOTHING: Final = (0, 0, 0)
UNMOVED: Final = [(ONE, 0, 0), (TWO, 0, 0)]
