"""The services on a real PostgreSQL as a world of the model of registrations."""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, Final

import psycopg
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloud.core.authz import Actor
from cloud.core.refusal import RefusedError
from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.postgres.pool import Pool, make_pool
from cloud.services import (
    system_editing,
    system_registering,
    system_slots,
)
from cloud.services.kit import Kit
from cloud.services.passwords import Passwords
from cloud.services.system_registering import Outcome, Proof
from cloud.services.vault import Vault
from protocol.system import System, SystemState
from protocol.system_code import CodeRefusedError, Operation
from tests.support.claiming import make_actors
from tests.support.system_rules import BOXES, COMPANIES, ENTERPRISE
from tests.support.systems import TestCloudKeys, TestServer

SITE: Final = {
    "company": "Example Works",
    "address": "1 Example Street",
    "country": "DE",
    "city": "Exampleton",
    "zip": "12345",
    "application": "Other",
}
CONTACTS: Final = {"contact_name": "Ada North", "contact_email": "ada@example.org"}
MAIN_BUILDING: Final = {
    "site_name": "Main building",
    "company": "Example Hospital",
    "address": "1 Example Street",
    "country": "IE",
    "city": "Dublin",
    "zip": "D01",
    "application": "Healthcare",
    "contact_name": "Front desk",
    "contact_email": "desk@example.org",
}
"""A system whose owner has filled in all that a server shows."""


class SystemWorld:
    """Servers and companies in the database ``dsn``, new ones at each start; ``now`` is the cloud's clock."""

    def __init__(self, dsn: str) -> None:
        self.keys = TestCloudKeys({1: X25519PrivateKey.generate()})
        self.now = 0
        self._starts = itertools.count()
        self._dsn = dsn
        self._runner = asyncio.Runner()
        self._sql = psycopg.connect(dsn, autocommit=True)
        self._passwords = Passwords()
        self._passwords.__enter__()
        self._pool: Pool = self._runner.run(_open(dsn))
        self.kit = Kit(
            self._pool, self._passwords, Vault(b"k" * 32), "SmartConnect", "https://portal.example.org"
        )

    def close(self) -> None:
        """End all connections."""
        self._runner.run(self._pool.close())
        self._passwords.__exit__(None, None, None)
        self._runner.close()
        self._sql.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a service."""
        return self._runner.run(work)

    def start(self, now: int) -> None:
        """New companies, new servers, no registration of theirs."""
        self.now = now
        self._people = make_actors(self._dsn, COMPANIES, f"system{next(self._starts)}-")
        self.companies = {person.company_id: number for number, person in enumerate(self._people)}
        self.boxes = [
            TestServer(self.keys, System.ENTERPRISE_SERVER if box in ENTERPRISE else System.STANDALONE)
            for box in range(BOXES)
        ]
        self.ids: dict[tuple[int, int], str] = {(box, 0): one.id for box, one in enumerate(self.boxes)}
        self.numbers: list[int] = []
        self.tokens: list[str] = []
        self.codes: dict[int, str] = {}
        self.members: dict[int, dict[str, bytes]] = {box: {} for box in ENTERPRISE}

    def actor(self, company: int) -> Actor:
        """The person of a company."""
        return self._people[company]

    def email(self, company: int) -> str:
        """The address of that person."""
        with self._sql.cursor() as cursor:
            found = cursor.execute(
                "SELECT email FROM account WHERE account_id = %s", [self.actor(company).account_id]
            ).fetchone()
        return "" if found is None else str(found[0])

    # --- what boxes do --------------------------------------------------------------------------------------

    def ask(self, box: int, **how: Any) -> SystemState:
        """A report of the box, with what it says of attached servers."""
        carried = tuple(self.members[box].values()) if box in ENTERPRISE else ()
        state: SystemState = self.run(self.boxes[box].ask(self.kit, self.now, attached=carried, **how))
        for (number,) in self.rows(
            "SELECT number FROM system_server WHERE system_id = %s AND number IS NOT NULL",
            [self.boxes[box].id],
        ):
            self._know(number)
        return state

    def delete_database(self, box: int, life: int) -> None:
        """The box has another System ID, and knows nothing any more. How many of these come a day is no part
        of the model.
        """
        self._sql.execute("DELETE FROM attempt WHERE scope = 'system'")
        self.boxes[box].delete_database()
        self.ids[box, life] = self.boxes[box].id
        self.codes.pop(box, None)
        if box in ENTERPRISE:
            self.members[box] = {}

    def attach(self, box: int, enterprise: int | None, *, carried: bool) -> None:
        """The box's own word; the Enterprise Server carries it, or hears nothing of it."""
        server = self.boxes[box]
        word = server.attachment(None if enterprise is None else self.boxes[enterprise])
        if carried and enterprise is not None:
            self.members[enterprise][server.id] = word
            self.ask(enterprise)
        else:
            self.ask(box, attachment=word)

    def drop(self, box: int, enterprise: int) -> None:
        """The Enterprise Server no longer says that the box is attached."""
        self.members[enterprise].pop(self.boxes[box].id, None)
        self.ask(enterprise)

    def enter_code(self, box: int, now: int) -> str:
        """The word for the last code of this box, entered there; "done" where it is good."""
        try:
            self.boxes[box].enter(self.codes.get(box, "0" * 42), now)
        except CodeRefusedError as error:
            return error.refusal.value
        return "done"

    # --- what people do -------------------------------------------------------------------------------------

    def proof(self, box: int, way: str, operation: Operation) -> Proof:
        """What somebody brings of this box."""
        server = self.boxes[box]
        text = server.id
        if way == "request":
            text = server.request(operation)
        elif way == "link":
            text = self.ask(box, register=True).link
        return system_registering.read_proof(self.keys.private, text)

    def register(self, box: int, company: int, slot: str, way: str) -> Outcome:
        """Register with this proof."""
        proof = self.proof(box, way, Operation.REGISTER)
        done: Outcome = self.run(
            system_registering.register(
                self.kit, self.keys.private, self.actor(company), proof, Slot(slot), self.now
            )
        )
        return self._note(box, done)

    def associate(self, box: int, company: int, number: int, replaces: str, way: str) -> Outcome:
        """Associate with this proof."""
        proof = self.proof(box, way, Operation.ASSOCIATE)
        done: Outcome = self.run(
            system_registering.associate(
                self.kit, self.keys.private, self.actor(company), proof, number, replaces, self.now
            )
        )
        return self._note(box, done)

    def _note(self, box: int, done: Outcome) -> Outcome:
        if done.number is not None:
            self._know(done.number)
        if done.code:
            self.codes[box] = done.code
        return done

    def _know(self, number: int) -> None:
        if number not in self.numbers:
            self.numbers.append(number)

    def offer(self, company: int, reg: int, slot: str, to: int) -> None:
        """Offer a slot; its token is kept. The pace of mails to one address is no part of the model."""
        self._sql.execute("DELETE FROM attempt WHERE scope = 'mail'")
        self.tokens.append(
            self.run(
                system_slots.offer(
                    self.kit,
                    self.actor(company),
                    self.numbers[reg],
                    Slot(slot),
                    self.email(to),
                    self.now,
                    fresh=True,
                )
            )
        )

    def take(self, company: int, offer: int) -> None:
        """Take an offer."""
        self.run(
            system_slots.take_offer(self.kit, self.actor(company), self.tokens[offer], self.now, fresh=True)
        )

    def leave(self, company: int, reg: int, slot: str) -> None:
        """Give a slot up."""
        self.run(
            system_slots.leave(
                self.kit, self.actor(company), self.numbers[reg], Slot(slot), self.now, fresh=True
            )
        )

    def end(self, company: int, reg: int) -> None:
        """Delete a registration."""
        self.run(system_slots.end(self.kit, self.actor(company), self.numbers[reg], self.now, fresh=True))

    def consent(self, company: int, reg: int, information: bool, personal: bool) -> None:
        """The end-user's consents."""
        self.run(
            system_editing.consent(
                self.kit,
                self.actor(company),
                self.numbers[reg],
                information=information,
                personal=personal,
                share_ups=False,
                now_ms=self.now,
            )
        )

    def write(self, company: int, reg: int, site: str) -> None:
        """System data."""
        form = {**SITE, "site_name": site}
        self._save(company, reg, Part.DATA, form)

    def warranty(self, company: int, reg: int) -> None:
        """Warranty data."""
        self._save(company, reg, Part.WARRANTY, {"warranty_terms": "Parts and labour"})

    def _save(self, company: int, reg: int, part: Part, form: dict[str, str]) -> None:
        self.run(
            system_editing.save(
                self.kit, self.actor(company), self.numbers[reg], frozenset({part}), form, self.now
            )
        )

    def follow(self, company: int, reg: int, lead: int) -> None:
        """Lead and shadow."""
        self.run(
            system_editing.follow(
                self.kit, self.actor(company), self.numbers[reg], self.numbers[lead], self.now
            )
        )

    def stand_alone(self, company: int, reg: int) -> None:
        """No shadow any more."""
        self.run(system_editing.stand_alone(self.kit, self.actor(company), self.numbers[reg], self.now))

    # --- what the database holds ----------------------------------------------------------------------------

    def rows(self, statement: Any, values: list[Any]) -> list[tuple[Any, ...]]:
        """Rows, read past all of our code."""
        return self._sql.execute(statement, values).fetchall()

    def registration(self, number: int) -> tuple[Any, ...]:
        """(System ID, holders, lead, information, personal, edited, site, ended) of one registration."""
        ((system_id, lead, information, personal, edited, ended),) = self.rows(
            "SELECT system_id, lead_number, information_ms IS NOT NULL, personal_ms IS NOT NULL,"
            " end_user_edited, ended_ms IS NOT NULL FROM registration WHERE number = %s",
            [number],
        )
        holders = dict(
            self.rows(
                "SELECT slot, company_id FROM registration_slot WHERE number = %s AND until_ms IS NULL",
                [number],
            )
        )
        site = self.rows(
            "SELECT value FROM registration_field WHERE number = %s AND field = 'site_name'", [number]
        )
        return system_id, holders, lead, information, personal, edited, site[0][0] if site else "", ended


async def _open(dsn: str) -> Pool:
    pool = make_pool(dsn, name="systems", max_size=4)
    await pool.open()
    return pool


REFUSED = RefusedError
