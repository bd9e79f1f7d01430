"""Companies, members and invitations in PostgreSQL.

Who may do what is decided above; here the rows are locked and written. Changes of members lock the
company's row first, so that two of them see each other one after the other (a company never loses its last
owner). ``NOTIFY account`` hints that somebody's rights have changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import sql
from psycopg.rows import class_row, dict_row

from cloud.core.authz import Role
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

CHANNEL: Final = "account"
DETAILS: Final = (
    "name",
    "business_type",
    "area_of_focus",
    "industry_segment",
    "address",
    "city",
    "zip_code",
    "location",
    "state_province",
    "contact_name",
    "contact_email",
    "contact_phone",
)
"""The columns that people fill in."""


@dataclass(frozen=True, slots=True)
class Company:
    """A company with what its people have written about it."""

    company_id: int
    name: str
    business_type: str
    area_of_focus: str
    industry_segment: str
    address: str
    city: str
    zip_code: str
    location: str
    state_province: str
    contact_name: str
    contact_email: str
    contact_phone: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a company."""

    account_id: int
    email: str
    first_name: str
    last_name: str
    role: Role
    created_ms: int
    two_factor: bool

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}".strip()


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation with the words its page needs."""

    invitation_id: int
    company_id: int
    company_name: str
    email: str
    email_norm: str
    role: Role
    inviter: str
    created_ms: int
    expires_ms: int
    ended_ms: int | None
    ended_how: str | None
    sent_ms: int
    """When its newest mail was written."""

    def is_open(self, now_ms: int) -> bool:
        """Whether it can be accepted."""
        return self.ended_ms is None and self.expires_ms > now_ms


async def insert(connection: Connection, details: Mapping[str, str], now_ms: int) -> int:
    """Make a company from ``DETAILS`` (``name`` is needed); its number."""
    names = [name for name in DETAILS if name in details]
    statement = sql.SQL("INSERT INTO company (created_ms, {}) VALUES (%s, {}) RETURNING company_id").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
    )
    cursor = await connection.execute(statement, [now_ms, *(details[name] for name in names)])
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def update(connection: Connection, company_id: int, details: Mapping[str, str]) -> None:
    """Write these of ``DETAILS``."""
    names = [name for name in DETAILS if name in details]
    if names:
        statement = sql.SQL("UPDATE company SET {} WHERE company_id = %s").format(
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names)
        )
        await connection.execute(statement, [*(details[name] for name in names), company_id])


async def find(pool: Pool, company_id: int) -> Company | None:
    """One company."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Company)) as cursor:
        await cursor.execute(
            sql.SQL("SELECT company_id, created_ms, {} FROM company WHERE company_id = %s").format(
                sql.SQL(", ").join(map(sql.Identifier, DETAILS))
            ),
            [company_id],
        )
        return await cursor.fetchone()


async def name_of(connection: Connection, company_id: int) -> str:
    """What a company is called; empty where there is none."""
    cursor = await connection.execute("SELECT name FROM company WHERE company_id = %s", [company_id])
    row = await cursor.fetchone()
    return "" if row is None else str(row[0])


async def lock(connection: Connection, company_id: int) -> None:
    """Hold the company's row: changes of its members happen one after the other."""
    await connection.execute("SELECT 1 FROM company WHERE company_id = %s FOR NO KEY UPDATE", [company_id])


async def lock_account(connection: Connection, account_id: int) -> None:
    """Hold a person's row: their memberships end one after the other, whichever company ends them.

    Taken after ``lock``, never before it.
    """
    await connection.execute("SELECT 1 FROM account WHERE account_id = %s FOR NO KEY UPDATE", [account_id])


# --- members ------------------------------------------------------------------------------------------------


async def members(connection: Connection, company_id: int) -> list[Member]:
    """Everybody in a company, owners first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT account_id, email, first_name, last_name, role, membership.created_ms,"
            " two_factor FROM membership JOIN account USING (account_id)"
            " JOIN account_factor USING (account_id) WHERE company_id = %s"
            " ORDER BY array_position(ARRAY['owner', 'admin', 'operator', 'viewer'], role),"
            " lower(last_name), lower(first_name), account_id",
            [company_id],
        )
        return [Member(**{**row, "role": Role(row["role"])}) for row in await cursor.fetchall()]


async def add_member(
    connection: Connection, company_id: int, account_id: int, role: Role, now_ms: int
) -> bool:
    """Make somebody a member; False where they are one already."""
    done = await connection.execute(
        "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [company_id, account_id, role, now_ms],
    )
    return done.rowcount == 1


async def role_of(connection: Connection, company_id: int, account_id: int) -> Role | None:
    """What somebody is in a company; None for a stranger."""
    cursor = await connection.execute(
        "SELECT role FROM membership WHERE company_id = %s AND account_id = %s", [company_id, account_id]
    )
    row = await cursor.fetchone()
    return None if row is None else Role(row[0])


async def set_role(connection: Connection, company_id: int, account_id: int, role: Role) -> None:
    """Another role for a member, known to every open page at once."""
    await connection.execute(
        "UPDATE membership SET role = %s WHERE company_id = %s AND account_id = %s",
        [role, company_id, account_id],
    )
    await hint(connection, account_id)


async def remove_member(connection: Connection, company_id: int, account_id: int) -> None:
    """End a membership and every log-in that acts for this company by it."""
    await connection.execute(
        "DELETE FROM membership WHERE company_id = %s AND account_id = %s", [company_id, account_id]
    )
    for table in ("web_session", "login_step"):
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE company_id = %s AND account_id = %s").format(sql.Identifier(table)),
            [company_id, account_id],
        )
    await hint(connection, account_id)


async def companies_of(connection: Connection, account_id: int) -> list[tuple[int, str, Role]]:
    """(company_id, name, role) of everything a person is a member of, in the order of joining."""
    cursor = await connection.execute(
        "SELECT company_id, name, role FROM membership JOIN company USING (company_id)"
        " WHERE account_id = %s ORDER BY membership.created_ms, company_id",
        [account_id],
    )
    return [(company_id, name, Role(role)) for company_id, name, role in await cursor.fetchall()]


async def switch(connection: Connection, session_hash: bytes, account_id: int, company_id: int) -> bool:
    """Let a log-in act for another of the person's companies; False where it is none of theirs."""
    done = await connection.execute(
        "UPDATE web_session SET company_id = %(company)s WHERE session_hash = %(session)s"
        " AND account_id = %(account)s AND EXISTS (SELECT 1 FROM membership"
        " WHERE company_id = %(company)s AND account_id = %(account)s)",
        {"session": session_hash, "account": account_id, "company": company_id},
    )
    return done.rowcount == 1


async def hint(connection: Connection, account_id: int) -> None:
    """Tell every portal that somebody's rights or log-ins have changed."""
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(account_id)])


# --- invitations --------------------------------------------------------------------------------------------

_INVITATION: Final[LiteralString] = (
    "SELECT invitation_id, company_id, company.name AS company_name, i.email, i.email_norm, i.role,"
    " account.first_name || ' ' || account.last_name AS inviter, i.created_ms, i.expires_ms, i.ended_ms,"
    " i.ended_how, coalesce((SELECT max(l.sent_ms) FROM invitation_link l"
    " WHERE l.invitation_id = i.invitation_id), i.created_ms) AS sent_ms"
    " FROM invitation i JOIN company USING (company_id) JOIN account ON account_id = i.invited_by"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvitation:
    """An invitation about to be written."""

    company_id: int
    email: str
    email_norm: str
    role: Role
    token_hash: bytes
    invited_by: int
    now_ms: int
    expires_ms: int


async def insert_invitation(connection: Connection, new: NewInvitation) -> int | None:
    """Its number; None where one is open for this address, or the address is a member's."""
    values = {
        "company": new.company_id,
        "email": new.email,
        "norm": new.email_norm,
        "role": new.role,
        "token": new.token_hash,
        "by": new.invited_by,
        "now": new.now_ms,
        "expires": new.expires_ms,
    }
    await connection.execute(
        "UPDATE invitation SET ended_ms = %(now)s, ended_how = 'expired' WHERE company_id = %(company)s"
        " AND email_norm = %(norm)s AND ended_ms IS NULL AND expires_ms <= %(now)s",
        values,
    )
    cursor = await connection.execute(
        "INSERT INTO invitation (company_id, email, email_norm, role, token_hash, invited_by, created_ms,"
        " expires_ms) SELECT %(company)s, %(email)s, %(norm)s, %(role)s, %(token)s, %(by)s, %(now)s,"
        " %(expires)s WHERE NOT EXISTS (SELECT 1 FROM membership JOIN account USING (account_id)"
        " WHERE company_id = %(company)s AND email_norm = %(norm)s)"
        " ON CONFLICT (company_id, email_norm) WHERE ended_ms IS NULL DO NOTHING RETURNING invitation_id",
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def invitations_since(
    connection: Connection, company_id: int, email_norm: str, since_ms: int
) -> tuple[int, int]:
    """How many mails a company has sent after ``since_ms``: to everybody, and to this address."""
    cursor = await connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE email_norm = %(norm)s) FROM ("
        "SELECT email_norm FROM invitation WHERE company_id = %(company)s AND created_ms > %(since)s"
        " UNION ALL SELECT email_norm FROM invitation JOIN invitation_link USING (invitation_id)"
        " WHERE company_id = %(company)s AND sent_ms > %(since)s) sent",
        {"norm": email_norm, "company": company_id, "since": since_ms},
    )
    row = await cursor.fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


async def find_invitation(
    connection: Connection, *, token_hash: bytes | None = None, invitation_id: int | None = None
) -> Invitation | None:
    """The invitation of a link or of a number, locked until the transaction ends."""
    if token_hash is not None:
        cursor = await connection.execute(
            "SELECT invitation_id FROM invitation_link WHERE token_hash = %s", [token_hash]
        )
        row = await cursor.fetchone()
        invitation_id = invitation_id if row is None else int(row[0])
    found = await _invitations(
        connection,
        f"{_INVITATION} WHERE i.token_hash = %(token)s OR i.invitation_id = %(number)s FOR UPDATE OF i",
        {"token": token_hash, "number": invitation_id},
    )
    return found[0] if found else None


async def add_invitation_link(
    connection: Connection, invitation_id: int, token_hash: bytes, *, now_ms: int, expires_ms: int
) -> None:
    """A further mail of an invitation that is held: its links live until then, those of before too."""
    await connection.execute(
        "INSERT INTO invitation_link (token_hash, invitation_id, sent_ms) VALUES (%s, %s, %s)",
        [token_hash, invitation_id, now_ms],
    )
    await connection.execute(
        "UPDATE invitation SET expires_ms = %s WHERE invitation_id = %s", [expires_ms, invitation_id]
    )


async def pending_invitations(connection: Connection, company_id: int) -> list[Invitation]:
    """What nobody has answered yet, newest first; those whose time is over, too."""
    return await _invitations(
        connection,
        f"{_INVITATION} WHERE i.company_id = %(company)s AND i.ended_ms IS NULL"
        " ORDER BY i.invitation_id DESC",
        {"company": company_id},
    )


async def _invitations(
    connection: Connection, statement: LiteralString, values: Mapping[str, object]
) -> list[Invitation]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, values)
        return [Invitation(**{**row, "role": Role(row["role"])}) for row in await cursor.fetchall()]


async def end_invitation(
    connection: Connection, invitation_id: int, now_ms: int, accepted_by: int | None = None
) -> None:
    """It was accepted or, by nobody, withdrawn."""
    how = "withdrawn" if accepted_by is None else "accepted"
    await connection.execute(
        "UPDATE invitation SET ended_ms = %s, ended_how = %s, accepted_by = %s"
        " WHERE invitation_id = %s AND ended_ms IS NULL",
        [now_ms, how, accepted_by, invitation_id],
    )
