"""The manifest in the database: public keys only."""

from collections.abc import AsyncIterator, Sequence

from cloud.core.manifest import Entry
from cloud.postgres.transaction import Connection
from protocol.identity import ProductId

PAGE = 5000


async def find(connection: Connection, device_id: int) -> Entry | None:
    """The entry of a device."""
    cursor = await connection.execute(
        "SELECT product_id, label_pub, factory_pub FROM manifest WHERE device_id = %s", [device_id]
    )
    row = await cursor.fetchone()
    return None if row is None else Entry(ProductId(row[0]), row[1], row[2])


async def is_owned(connection: Connection, device_id: int) -> bool:
    """Whether somebody owns the device: the manifest asks nothing of it then."""
    cursor = await connection.execute(
        "SELECT 1 FROM ownership WHERE device_id = %s AND until_ms IS NULL", [device_id]
    )
    return await cursor.fetchone() is not None


async def find_many(connection: Connection, device_ids: Sequence[int]) -> dict[int, Entry]:
    """The entries among these devices."""
    cursor = await connection.execute(
        "SELECT device_id, product_id, label_pub, factory_pub FROM manifest WHERE device_id = ANY(%s)",
        [list(device_ids)],
    )
    return {row[0]: Entry(ProductId(row[1]), row[2], row[3]) for row in await cursor.fetchall()}


async def put(connection: Connection, entries: Sequence[Entry], now_ms: int) -> None:
    """List these devices; one that is listed gets the factory key given here."""
    async with connection.cursor() as writer:
        await writer.executemany(
            "INSERT INTO manifest (device_id, product_id, label_pub, factory_pub, added_ms)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (device_id) DO UPDATE"
            " SET factory_pub = EXCLUDED.factory_pub"
            " WHERE manifest.factory_pub IS DISTINCT FROM EXCLUDED.factory_pub"
            " AND manifest.label_pub = EXCLUDED.label_pub AND manifest.product_id = EXCLUDED.product_id",
            [
                [one.device_id, one.product_id.value, one.label_pub, one.factory_pub, now_ms]
                for one in sorted(entries, key=lambda entry: entry.device_id)
            ],
        )


async def everything(connection: Connection) -> AsyncIterator[Entry]:
    """All entries, in the order of their devices."""
    after = -1
    while True:
        cursor = await connection.execute(
            "SELECT device_id, product_id, label_pub, factory_pub FROM manifest WHERE device_id > %s"
            " ORDER BY device_id LIMIT %s",
            [after, PAGE],
        )
        rows = await cursor.fetchall()
        for row in rows:
            yield Entry(ProductId(row[1]), row[2], row[3])
        if len(rows) < PAGE:
            return
        after = rows[-1][0]
