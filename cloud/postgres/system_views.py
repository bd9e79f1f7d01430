"""Registrations and servers as people see them, in the caller's transaction."""

from dataclasses import dataclass

from psycopg.rows import class_row

from cloud.postgres.transaction import Connection


async def number_of(connection: Connection, system_id: str, company_id: int) -> int | None:
    """The registration that this System ID has, where the company holds a slot of it."""
    found = await connection.execute(
        "SELECT v.number FROM system_server v JOIN registration_slot s ON s.number = v.number"
        " WHERE v.system_id = %s AND s.company_id = %s AND s.until_ms IS NULL LIMIT 1",
        (system_id, company_id),
    )
    row = await found.fetchone()
    return None if row is None else int(row[0])


async def retired_of(connection: Connection, system_id: str, company_id: int) -> bool:
    """Whether this System ID was retired from a registration of which the company holds a slot."""
    found = await connection.execute(
        "SELECT 1 FROM system_server v JOIN registration_audit a ON a.kind = 'system_id'"
        " AND a.before = v.system_id JOIN registration_slot s ON s.number = a.number"
        " WHERE v.system_id = %s AND v.retired_ms IS NOT NULL AND s.company_id = %s AND s.until_ms IS NULL"
        " LIMIT 1",
        (system_id, company_id),
    )
    return await found.fetchone() is not None


@dataclass(frozen=True, slots=True)
class Listed:
    """A registration in a list. ``seen_ms``: 0 where its server was never heard; ``slots``: the company's."""

    number: int
    system_id: str
    site_name: str
    city: str
    kind: str
    name: str
    product_version: str
    seen_ms: int
    slots: list[str]
    confirmed: bool
    lead_number: int | None
    attached_to: str
    shadows: int


_LISTED = (
    "SELECT r.number, r.system_id, coalesce(n.value, '') AS site_name, coalesce(t.value, '') AS city,"
    " v.kind, v.name, v.product_version, v.seen_ms,"
    " array(SELECT s.slot FROM registration_slot s WHERE s.number = r.number AND s.company_id = %(company)s"
    " AND s.until_ms IS NULL ORDER BY s.slot) AS slots,"
    " (r.information_ms IS NOT NULL AND r.personal_ms IS NOT NULL) AS confirmed, r.lead_number,"
    " CASE WHEN m.system_id IS NULL THEN '' ELSE v.attached_to END AS attached_to,"
    " (SELECT count(*) FROM registration f WHERE f.lead_number = r.number) AS shadows"
    " FROM registration r JOIN system_server v USING (system_id)"
    " LEFT JOIN registration_field n ON n.number = r.number AND n.field = 'site_name'"
    " LEFT JOIN registration_field t ON t.number = r.number AND t.field = 'city'"
    " LEFT JOIN system_member m ON m.system_id = v.attached_to AND m.member_id = v.system_id"
)
_MINE = (
    " WHERE r.ended_ms IS NULL AND EXISTS (SELECT 1 FROM registration_slot s"
    " WHERE s.number = r.number AND s.company_id = %(company)s AND s.until_ms IS NULL)"
    " ORDER BY lower(coalesce(n.value, '')), v.name, r.number"
)


async def systems_of(connection: Connection, company_id: int) -> list[Listed]:
    """The registrations of which the company holds a slot, by the name of their site."""
    async with connection.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute(_LISTED + _MINE, {"company": company_id})
        return await cursor.fetchall()


async def shadows_of(connection: Connection, number: int, company_id: int) -> list[Listed]:
    """What follows this registration; ``slots`` are empty where the company holds none."""
    async with connection.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute(
            _LISTED + " WHERE r.lead_number = %(number)s AND r.ended_ms IS NULL ORDER BY v.name, r.number",
            {"company": company_id, "number": number},
        )
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class ServerRow:
    """What a server has said of itself."""

    system_id: str
    number: int | None
    retired_ms: int | None
    first_ms: int
    seen_ms: int
    kind: str
    name: str
    product_version: str
    licences: list[str]
    uptime_s: int
    attached_to: str


async def server(connection: Connection, system_id: str) -> ServerRow | None:
    """One server that has proven itself."""
    async with connection.cursor(row_factory=class_row(ServerRow)) as cursor:
        await cursor.execute(
            "SELECT system_id, number, retired_ms, first_ms, seen_ms, kind, name, product_version, licences,"
            " uptime_s, attached_to FROM system_server WHERE system_id = %s",
            (system_id,),
        )
        return await cursor.fetchone()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a slot."""

    slot: str
    company_id: int
    company: str
    from_ms: int


async def holders(connection: Connection, number: int) -> list[Holder]:
    """Who holds the slots now."""
    async with connection.cursor(row_factory=class_row(Holder)) as cursor:
        await cursor.execute(
            "SELECT s.slot, s.company_id, c.name AS company, s.from_ms FROM registration_slot s"
            " JOIN company c USING (company_id) WHERE s.number = %s AND s.until_ms IS NULL ORDER BY s.slot",
            (number,),
        )
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the history. ``person`` and ``company`` are empty for what happened by itself."""

    ts_ms: int
    kind: str
    field: str
    before: str
    after: str
    person: str
    company: str


async def history(connection: Connection, number: int, since_ms: int, limit: int) -> list[Line]:
    """Who changed what when, the newest first, from ``since_ms`` on."""
    async with connection.cursor(row_factory=class_row(Line)) as cursor:
        await cursor.execute(
            "SELECT a.ts_ms, a.kind, a.field, a.before, a.after,"
            " trim(coalesce(p.first_name || ' ' || p.last_name, '')) AS person,"
            " coalesce(c.name, '') AS company FROM registration_audit a"
            " LEFT JOIN account p USING (account_id) LEFT JOIN company c ON c.company_id = a.company_id"
            " WHERE a.number = %s AND a.ts_ms >= %s ORDER BY a.audit_no DESC LIMIT %s",
            (number, since_ms, limit),
        )
        return await cursor.fetchall()


async def times(connection: Connection, number: int) -> tuple[int, int]:
    """When a registration was made and last changed, unix ms; (0, 0) without one."""
    found = await connection.execute(
        "SELECT created_ms, changed_ms FROM registration WHERE number = %s", (number,)
    )
    row = await found.fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


@dataclass(frozen=True, slots=True)
class UpsRow:
    """A UPS under a server, with as much as its company shares."""

    device_id: int
    name: str
    model: str
    product_id: str
    connected: bool
    ups_status: int
    company_id: int


async def ups_under(connection: Connection, system_id: str) -> list[UpsRow]:
    """The owned UPSs under this server, by name."""
    async with connection.cursor(row_factory=class_row(UpsRow)) as cursor:
        await cursor.execute(
            "SELECT u.device_id, o.name, d.model, d.product_id, coalesce(l.connected, false) AS connected,"
            " coalesce(l.ups_status, 0) AS ups_status, o.company_id FROM system_ups u"
            " JOIN ownership o ON o.device_id = u.device_id AND o.until_ms IS NULL AND o.kid = u.kid"
            " JOIN device d ON d.device_id = u.device_id LEFT JOIN latest l ON l.device_id = u.device_id"
            " WHERE u.system_id = %s ORDER BY lower(o.name), d.model, d.product_id",
            (system_id,),
        )
        return await cursor.fetchall()


async def system_of_ups(connection: Connection, device_id: int) -> str | None:
    """The System ID of the server that this UPS is under."""
    found = await connection.execute(
        "SELECT u.system_id FROM system_ups u JOIN ownership o ON o.device_id = u.device_id"
        " AND o.until_ms IS NULL AND o.kid = u.kid WHERE u.device_id = %s",
        (device_id,),
    )
    row = await found.fetchone()
    return None if row is None else str(row[0])
