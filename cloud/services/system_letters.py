"""Mails about registrations of systems: plain sentences, one purpose each; secrets in fragments only."""

from collections.abc import Mapping

from cloud.core.mail import Mail
from cloud.core.system import OFFER_LIFE_MS, SLOT_WORDS, OfferKind, Slot
from cloud.core.system_data import PARTS
from cloud.postgres import outbox, owners
from cloud.postgres.transaction import Connection
from cloud.services.kit import Kit
from protocol.system import FIELDS
from protocol.system_code import written_number


def page_of(kit: Kit, number: int) -> str:
    """The address of a registration's page."""
    return f"{kit.portal_url}/systems/{written_number(number)}"


def data_confirmation(
    kit: Kit, to: str, number: int, data: Mapping[str, str], now_ms: int, account_id: int | None
) -> Mail:
    """What was registered, to be checked by whoever registered it."""
    lines = [f"{FIELDS[name]}: {data[name]}" for names in PARTS.values() for name in names if data.get(name)]
    return Mail(
        to,
        f"{kit.brand}: registration {written_number(number)} – please check it",
        "This is what is registered of your system:\n\n"
        + "\n".join(lines)
        + f"\n\nIf something is wrong, change it at {page_of(kit, number)}\n",
        "system_data",
        now_ms,
        account_id=account_id,
    )


def offer(
    kit: Kit, to: str, token: str, slot: Slot, kind: OfferKind, company: str, site: str, now_ms: int
) -> Mail:
    """The link to a slot that was offered."""
    what = "invites you to be" if kind is OfferKind.INVITE else "hands its place over to you:"
    place = f" of {site}" if site else ""
    return Mail(
        to,
        f"{kit.brand}: {company} offers you a registered system",
        f"{company} {what} {SLOT_WORDS[slot]}{place}.\n\nOpen this link within seven days, logged in with the"
        f" account of this address:\n{kit.portal_url}/systems/offer#{token}\n\nOr enter this code there:"
        f" {token}\n",
        "system_offer",
        now_ms,
        expires_ms=now_ms + OFFER_LIFE_MS,
    )


async def tell_heads(
    connection: Connection, kit: Kit, company_id: int, number: int, subject: str, text: str, now_ms: int
) -> None:
    """A mail to the owners and administrators of a company about one of its systems."""
    for to, account_id in await owners.heads_of(connection, company_id):
        mail = Mail(
            to,
            f"{kit.brand}: {subject}",
            f"{text}\n\nIts page: {page_of(kit, number)}\n",
            "system_notice",
            now_ms,
            account_id,
        )
        await outbox.put(connection, mail)
