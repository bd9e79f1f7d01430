"""A delivery becomes a mail or a payload: when it is made, and again when it is sent.

Between the two a device may have left the company, somebody may have left it, unsubscribed, or changed their
address. So nothing that was written down earlier is sent: ``renew`` looks again, and gives nothing back where
nothing may be told any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from cloud.core.language import ENGLISH, N_, gettext, speaking
from cloud.core.mail import Mail
from cloud.postgres import notice_policies, notices
from cloud.postgres.notice_policies import Reader
from cloud.postgres.notices import Delivery
from cloud.postgres.outbox import Parcel
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from cloud.services import notice_words
from cloud.services.unsubscribing import unsubscribe_url
from cloud.services.vault import Vault

KIND: Final = "notice"
TEST: Final = "test"
TEST_TEXT: Final = N_("This is a test, as somebody of your company has asked for. Nothing is wrong.")


class Desk(Protocol):
    """What letters need: a :class:`cloud.services.kit.Kit` has it, and so has :class:`Office`."""

    @property
    def pool(self) -> Pool:
        """The database."""

    @property
    def vault(self) -> Vault:
        """Signs the links."""

    @property
    def brand(self) -> str:
        """Name of the product."""

    @property
    def portal_url(self) -> str:
        """Where its pages are, without a slash at the end."""


@dataclass(frozen=True, slots=True)
class Office:
    """A desk of a process that has no people."""

    pool: Pool
    vault: Vault
    brand: str
    portal_url: str


def is_test(items: Sequence[dict[str, Any]]) -> bool:
    """Whether a notice is somebody's test."""
    return any(item.get("say") == TEST for item in items)


def words(desk: Desk, delivery: Delivery, zone: str) -> tuple[str, str]:
    """Subject and text of a delivery, in the language that is spoken."""
    if is_test(delivery.items):
        return gettext("{brand}: this is a test", brand=desk.brand), f"{gettext(TEST_TEXT)}\n"
    subject = notice_words.subject(delivery.items, delivery.site)
    text = notice_words.text(delivery.items, delivery.site, zone)
    acknowledge = gettext("Acknowledge: {url}", url=f"{desk.portal_url}/alarms")
    return f"{desk.brand}: {subject}", f"{text}\n{acknowledge}\n"


def channel_words(desk: Desk, delivery: Delivery) -> tuple[str, str]:
    """Subject and text for a channel: a company's people and programs read it, in English."""
    with speaking(ENGLISH):
        return words(desk, delivery, "UTC")


def letter(desk: Desk, delivery: Delivery, reader: Reader) -> Mail:
    """The mail of a delivery to a person, in their language."""
    with speaking(reader.language):
        subject, text = words(desk, delivery, reader.time_zone)
        if delivery.policy_id is not None:
            url = unsubscribe_url(desk.vault, desk.portal_url, delivery.policy_id, reader.account_id)
            text += "\n" + gettext("No more of these mails: {url}", url=url) + "\n"
    return Mail(
        reader.email,
        subject,
        text,
        KIND,
        delivery.notice_ms,
        account_id=reader.account_id,
        delivery_id=delivery.delivery_id,
    )


async def present(connection: Connection, delivery: Delivery) -> Delivery | None:
    """The delivery as it may be told now; None where nothing of it may."""
    if is_test(delivery.items):
        return delivery
    owned = await notices.still_owned(connection, delivery.company_id, delivery.items)
    items = [item for item in delivery.items if item["device"] in owned]
    return replace(delivery, items=items) if items else None


async def renew(desk: Desk, parcel: Parcel) -> Parcel | None:
    """The mail of a delivery as it is sent now, or None: nobody may be told, or wants to be."""
    if parcel.delivery_id is None:
        return parcel
    async with desk.pool.connection() as connection:
        found = await notices.find(connection, parcel.delivery_id)
        delivery = None if found is None else await present(connection, found)
        if delivery is None:
            return None
        readers = await notice_policies.readers(connection, delivery.company_id)
        reader = next((one for one in readers if one.account_id == delivery.account_id), None)
        if reader is None or delivery.policy_id in reader.gone:
            return None
        await notices.name_address(connection, delivery.delivery_id, reader.email)
    mail = letter(desk, delivery, reader)
    headers: tuple[tuple[str, str], ...] = ()
    if delivery.policy_id is not None:
        url = unsubscribe_url(desk.vault, desk.portal_url, delivery.policy_id, reader.account_id)
        headers = (
            ("List-Unsubscribe", f"<{url}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),  # RFC 8058
        )
    return replace(
        parcel, to_address=mail.to_address, subject=mail.subject_line, text=mail.text, headers=headers
    )


def payload(desk: Desk, delivery: Delivery) -> dict[str, Any]:
    """What a webhook is given; times are unix milliseconds."""
    subject, text = channel_words(desk, delivery)
    return {
        "v": 1,
        "delivery": delivery.delivery_id,
        "notice": delivery.notice_id,
        "kind": TEST if is_test(delivery.items) else ("escalation" if delivery.step else "alarm"),
        "created_ms": delivery.notice_ms,
        "site": delivery.site,
        "title": subject,
        "text": text,
        "items": [] if is_test(delivery.items) else delivery.items,
    }
