"""Who is told by mail that a registration has changed: the other end, and who followed it or waited for it.

``store`` stores what a decision has changed of a registration and tells everybody who held or holds a slot,
but not those who did it; ``tell_written`` names the fields that somebody has changed; ``tell_waiting`` says
what a server has answered. All in the caller's transaction, each reader's mail in the reader's language.

Beyond :data:`cloud.services.mail_pace.TOLD` mails a day about one registration the next ones are left out:
its history has every change. Slots and endings are always told.
"""

from collections.abc import Callable
from typing import Final

from cloud.core import system as rules
from cloud.core.language import N_, speaking
from cloud.core.language import gettext as _
from cloud.core.mail import Mail
from cloud.core.refusal import TEXTS, RefusalCode
from cloud.core.system import SLOT_WORDS, Slot, System
from cloud.postgres import companies, outbox, system_readers, systems
from cloud.postgres.system_readers import Reader
from cloud.postgres.system_reports import IntentRow
from cloud.postgres.systems import Who
from cloud.postgres.transaction import Connection
from cloud.services import mail_pace
from cloud.services.kit import Kit
from protocol.system import FIELDS, SystemId
from protocol.system_code import Operation, written_number

Words = Callable[[], tuple[str, str]]
"""Subject and text, said in the language that is spoken when it is called."""
APART: Final = N_(
    "Nobody holds a place at both system {number} and its lead, system {lead}, any more: it shows its"
    " own registration."
)
ENDED: Final = N_(
    "System {number} followed system {lead}, whose registration has ended. It stands alone now and"
    " shows its own registration."
)


async def store(
    connection: Connection, kit: Kit, before: System, after: System, who: Who, now_ms: int
) -> None:
    """Store a change of a locked registration, and tell whom it concerns."""
    if before == after:
        return
    name = await _name(connection, before.number)
    shadows = await systems.shadows_of(connection, before.number) if after.ended else []
    following = await systems.load_registrations(connection, [number for number, _id in shadows])
    await systems.store(connection, before, after, who, now_ms)
    held = {*before.holders.values(), *after.holders.values()}
    names = {one: await companies.name_of(connection, one) for one in held}
    for company_id in sorted(held - {who.company_id}):
        if before.holders == after.holders and not await mail_pace.may_tell(
            connection, f"system {before.number} {company_id}", now_ms
        ):
            continue

        def changed() -> tuple[str, str]:
            return _("a registration has changed"), "\n".join(_lines(name, before, after, names))

        page = after.number if after.slots_of(company_id) else None
        await _tell_company(connection, kit, company_id, changed, page, now_ms)
    for shadow in following.values():
        await _tell_alone(connection, kit, shadow, before, ENDED, now_ms)
    if before.holders != after.holders and not after.ended:
        await _part(connection, kit, before, after, now_ms)


async def _part(connection: Connection, kit: Kit, before: System, after: System, now_ms: int) -> None:
    """A slot has changed hands: who followed, or was followed, only because of its holder stands alone."""
    shadows = [number for number, _id in await systems.shadows_of(connection, before.number)]
    others = await systems.load_registrations(
        connection, shadows if after.lead is None else [*shadows, after.lead]
    )
    lead = None if after.lead is None else others.pop(after.lead, None)
    alone = [one for one in others.values() if rules.follows(one, before) and not rules.follows(one, after)]
    pairs = [(one, after) for one in alone]
    if lead is not None and rules.follows(before, lead) and not rules.follows(after, lead):
        pairs.append((after, lead))
    for shadow, lead_of in pairs:
        await systems.add_notice(connection, shadow.system_id, "lead_apart", now_ms)
        await _tell_alone(connection, kit, shadow, lead_of, APART, now_ms)


async def _tell_alone(
    connection: Connection, kit: Kit, shadow: System, lead: System, text: str, now_ms: int
) -> None:
    """To all who hold a slot of a system that has lost its lead; ``text`` is one of those above."""

    def gone() -> tuple[str, str]:
        number, of_lead = written_number(shadow.number), written_number(lead.number)
        return _("a lead is gone"), _(text, number=number, lead=of_lead)

    for company_id in sorted(set(shadow.holders.values())):
        await _tell_company(connection, kit, company_id, gone, shadow.number, now_ms)


async def tell_confirmed(
    connection: Connection, kit: Kit, system: System, company_id: int, now_ms: int
) -> None:
    """The end-user's own company has confirmed the registration."""

    def confirmed() -> tuple[str, str]:
        return _("a registration is confirmed"), _("Both consents were given: the registration is confirmed.")

    await _tell_company(connection, kit, company_id, confirmed, system.number, now_ms)


async def tell_written(
    connection: Connection, kit: Kit, system: System, fields: list[str], who: Who, now_ms: int
) -> None:
    """Somebody has changed these fields: the other end is told which, not what."""
    name = await _name(connection, system.number)
    by = await companies.name_of(connection, who.company_id or 0)

    def written() -> tuple[str, str]:
        return _("a registration has changed"), _(
            "{company} has changed what is registered of {system}: {fields}.",
            company=by,
            system=name,
            fields=", ".join(_(FIELDS[field]) for field in fields),
        )

    for company_id in sorted(set(system.holders.values()) - {who.company_id}):
        if await mail_pace.may_tell(connection, f"system {system.number} {company_id}", now_ms):
            await _tell_company(connection, kit, company_id, written, system.number, now_ms)


async def attached(
    connection: Connection, kit: Kit, number: int, before: str, after: str, now_ms: int
) -> None:
    """Its server shows an Enterprise Server's registration from now on (``after``), or its own again ("")."""
    await systems.record(connection, number, "attached", Who(), now_ms, before=before, after=after)
    system = (await systems.load_registrations(connection, [number]))[number]
    name = await _name(connection, number)
    there = SystemId.parse(after or before).written

    def changed() -> tuple[str, str]:
        if after:
            text = _(
                "{system} is attached to the Enterprise Server {system_id} now and shows that one's"
                " registration. Its own stays beneath.",
                system=name,
                system_id=there,
            )
        else:
            text = _(
                "{system} is no longer attached to the Enterprise Server {system_id}: it shows its own"
                " registration again.",
                system=name,
                system_id=there,
            )
        return _("a registration has changed"), text

    for company_id in sorted(set(system.holders.values())):
        if await mail_pace.may_tell(connection, f"system {number} {company_id}", now_ms):
            await _tell_company(connection, kit, company_id, changed, number, now_ms)


async def tell_warranty(
    connection: Connection, kit: Kit, system: System, last_day: str, now_ms: int, *, ended: bool
) -> None:
    """The warranty has ended, or does so on this day; both ends are told."""
    name = await _name(connection, system.number)

    def words() -> tuple[str, str]:
        if ended:
            text = _("The warranty of {system} has ended; its last day was {day}.", system=name, day=last_day)
            return _("a warranty has ended"), text
        text = _("The warranty of {system} ends; its last day is {day}.", system=name, day=last_day)
        return _("a warranty ends soon"), text

    for company_id in sorted(set(system.holders.values())):
        await _tell_company(connection, kit, company_id, words, system.number, now_ms)


async def tell_declined(
    connection: Connection, kit: Kit, number: int, to_company: int, by: int, now_ms: int
) -> None:
    """An offer was declined: who made it is told."""
    name = await _name(connection, number)
    company = await companies.name_of(connection, by)

    def declined() -> tuple[str, str]:
        return _("your offer was declined"), _(
            "{company} does not take the place you offered at {system}.", company=company, system=name
        )

    await _tell_company(connection, kit, to_company, declined, number, now_ms)


async def tell_waiting(
    connection: Connection,
    kit: Kit,
    intent: IntentRow,
    state: str,
    reason: str,
    number: int | None,
    now_ms: int,
) -> None:
    """A server has answered somebody who typed its System ID."""
    reader = await system_readers.person(connection, intent.account_id, intent.company_id)
    if reader is None:
        return
    written = SystemId.parse(intent.system_id).written

    def answered() -> tuple[str, str]:
        if state == "done" and intent.operation == Operation.ASSOCIATE:
            text = _(
                "The server with System ID {system_id} said yes: it is associated now.", system_id=written
            )
        elif state == "done":
            text = _(
                "The server with System ID {system_id} said yes: it is registered now.", system_id=written
            )
        elif state == "declined":
            text = _("The people at the server with System ID {system_id} said no.", system_id=written)
        else:
            why = _(TEXTS[RefusalCode(reason)])
            text = _("System ID {system_id} could not be taken: {why}", system_id=written, why=why)
        return _("a server has answered"), text

    await _tell(connection, kit, reader, answered, number, now_ms)


# --- words --------------------------------------------------------------------------------------------------


async def _name(connection: Connection, number: int) -> str:
    """What people know a system by: its site, if that is written, and its number."""
    site = (await systems.fields(connection, number)).get("site_name", "")
    return f"{site} ({written_number(number)})" if site else written_number(number)


def _lines(name: str, before: System, after: System, names: dict[int, str]) -> list[str]:
    if after.ended:
        return [_("The registration of system {system} was deleted.", system=name)]
    lines = [_("System {system}:", system=name), ""]
    for slot in Slot:
        old, new = before.holders.get(slot), after.holders.get(slot)
        words = _(SLOT_WORDS[slot])
        if old == new:
            continue
        if new is None:
            lines.append(_("{slot}: nobody any more; it was {before}.", slot=words, before=names[old or 0]))
        elif old is None:
            lines.append(_("{slot}: {company} now.", slot=words, company=names[new]))
        else:
            lines.append(
                _(
                    "{slot}: {company} now; it was {before}.",
                    slot=words,
                    company=names[new],
                    before=names[old],
                )
            )
    if before.system_id != after.system_id:
        written = SystemId.parse(after.system_id).written
        lines.append(
            _("A new System ID has taken the place of the old one, for good: {system_id}.", system_id=written)
        )
    if before.lead != after.lead:
        if after.lead is None:
            lines.append(_("It shows its own registration again."))
        else:
            lead = written_number(after.lead)
            lines.append(_("It shows the registration of its lead now, system {lead}.", lead=lead))
    if before.confirmed != after.confirmed:
        lines.append(
            _("Both consents were given: the registration is confirmed.")
            if after.confirmed
            else _("The registration is no longer confirmed: the consents of the end-user have ended.")
        )
    if before.share_ups != after.share_ups:
        lines.append(
            _("The end-user lets the integrator see the UPSs under it.")
            if after.share_ups
            else _("The integrator no longer sees the end-user's UPSs under it.")
        )
    return lines


async def _tell_company(
    connection: Connection, kit: Kit, company_id: int, words: Words, number: int | None, now_ms: int
) -> None:
    for reader in await system_readers.heads(connection, company_id):
        await _tell(connection, kit, reader, words, number, now_ms)


async def _tell(
    connection: Connection, kit: Kit, reader: Reader, words: Words, number: int | None, now_ms: int
) -> None:
    with speaking(reader.language):
        subject, text = words()
        if number is not None:
            page = f"{kit.portal_url}/systems/{written_number(number)}"
            text += "\n\n" + _("Its page: {page}", page=page)
    mail = Mail(
        reader.address, f"{kit.brand}: {subject}", text + "\n", "system_notice", now_ms, reader.account_id
    )
    await outbox.put(connection, mail)
