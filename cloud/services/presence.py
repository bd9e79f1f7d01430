"""Tells once that a device is not heard any more, and once that it is heard again."""

from cloud.core.absence import Verdict, judge
from cloud.core.cloud_event import CloudEventKind
from cloud.postgres import claims, presence
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import cloud_events


async def settle(pool: Pool, device_id: int, now_ms: int, offline_after_ms: int) -> Verdict:
    """Judge one device under its lock and tell what follows; any number of processes may do it.

    DatabaseUnavailableError.
    """

    async def work(connection: Connection) -> Verdict:
        await claims.lock_known(connection, device_id)
        known = await presence.find(connection, device_id)
        verdict = judge(known, now_ms, offline_after_ms)
        if verdict in {Verdict.ENDS, Verdict.FORGET}:
            await presence.end(connection, device_id)
        if known is None:
            return verdict
        if verdict is Verdict.BEGINS:
            await presence.begin(connection, device_id, known, now_ms)
            await cloud_events.tell(
                connection, device_id, known.epoch, known.heard_ms, CloudEventKind.DEVICE_OFFLINE, {}
            )
        elif verdict is Verdict.ENDS:
            lasted_s = round((known.seen_ms - known.absent_since_ms) / 1000, 1)
            kind, detail = CloudEventKind.DEVICE_ONLINE, {"lasted_s": lasted_s}
            await cloud_events.tell(connection, device_id, known.epoch, known.seen_ms, kind, {**detail})
        return verdict

    return await in_transaction(
        pool, work, before_commit="presence.tell.before", after_commit="presence.tell.after"
    )
