"""Tells an event that the cloud itself found, beside those that devices send."""

from collections.abc import Mapping

from cloud.core.cloud_event import CloudEventKind
from cloud.postgres import claims, cloud_events
from cloud.postgres.transaction import Connection
from protocol.messages import Scalar


async def tell(
    connection: Connection,
    device_id: int,
    epoch: int,
    ts_ms: int,
    kind: CloudEventKind,
    detail: Mapping[str, Scalar],
) -> bool:
    """Store an event of this ownership, in the caller's transaction; False where the ownership is over.

    ``ts_ms`` is when it happened. The device's row stays locked until the transaction ends. The caller
    decides under the same lock that nobody has told it yet: this adds an event at every call.
    """
    if not await claims.lock_known(connection, device_id):
        return False
    return await cloud_events.add(connection, device_id, epoch, ts_ms, kind.value, detail)
