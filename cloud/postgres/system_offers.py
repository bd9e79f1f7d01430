"""Slots of registrations that were offered to somebody, in the caller's transaction."""

from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer of a slot; ``company_id`` is who offers."""

    number: int
    offer_id: str
    slot: str
    kind: str
    company_id: int
    company: str
    to_email: str
    secret_hash: bytes
    state: str
    created_ms: int
    expires_ms: int
    site_name: str


_OFFER = (
    "SELECT o.number, o.offer_id::text, o.slot, o.kind, o.company_id, c.name AS company, o.to_email,"
    " o.secret_hash, o.state, o.created_ms, o.expires_ms, coalesce((SELECT f.value FROM registration_field f"
    " WHERE f.number = o.number AND f.field = 'site_name'), '') AS site_name"
    " FROM registration_offer o JOIN company c USING (company_id)"
)


async def insert(connection: Connection, offer: OfferRow, account_id: int) -> bool:
    """A new one, in place of one that has expired; False where one is open."""
    await connection.execute(
        "UPDATE registration_offer SET state = 'void', to_email = '', closed_ms = %s"
        " WHERE number = %s AND slot = %s AND state = 'open' AND expires_ms <= %s",
        (offer.created_ms, offer.number, offer.slot, offer.created_ms),
    )
    done = await connection.execute(
        "INSERT INTO registration_offer (number, offer_id, slot, kind, company_id, account_id, to_email,"
        " secret_hash, created_ms, expires_ms) VALUES (%s, %s::uuid, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (number, slot) WHERE state = 'open' DO NOTHING",
        (
            *(offer.number, offer.offer_id, offer.slot, offer.kind, offer.company_id, account_id),
            *(offer.to_email, offer.secret_hash, offer.created_ms, offer.expires_ms),
        ),
    )
    return done.rowcount == 1


async def find(connection: Connection, number: int, offer_id: str) -> OfferRow | None:
    """One offer, open or not."""
    async with connection.cursor(row_factory=class_row(OfferRow)) as cursor:
        await cursor.execute(_OFFER + " WHERE o.number = %s AND o.offer_id = %s::uuid", (number, offer_id))
        return await cursor.fetchone()


async def open_of(connection: Connection, number: int, now_ms: int) -> list[OfferRow]:
    """The open ones of a registration."""
    async with connection.cursor(row_factory=class_row(OfferRow)) as cursor:
        await cursor.execute(
            _OFFER + " WHERE o.number = %s AND o.state = 'open' AND o.expires_ms > %s ORDER BY o.slot",
            (number, now_ms),
        )
        return await cursor.fetchall()


async def close(connection: Connection, number: int, offer_id: str, state: str, now_ms: int) -> bool:
    """How it ended; the address is forgotten. False where it has ended already."""
    done = await connection.execute(
        "UPDATE registration_offer SET state = %s, to_email = '', closed_ms = %s"
        " WHERE number = %s AND offer_id = %s::uuid AND state = 'open'",
        (state, now_ms, number, offer_id),
    )
    return done.rowcount == 1
