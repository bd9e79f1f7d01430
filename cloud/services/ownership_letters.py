"""Mails about owned devices: each notice of an ownership's life becomes mails to the heads of a company.

Notices are written with the change they tell of, by whichever process made it; a portal turns them into mails
here, once each and in the language of whoever gets it. The link of an offer is forgotten as soon as its mail
is in the outbox.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from babel.dates import format_date

from cloud.core.account import fold_email
from cloud.core.effects import Notice
from cloud.core.language import ENGLISH, N_, gettext, speaking, spoken
from cloud.core.mail import Mail
from cloud.postgres import outbox, owners
from cloud.postgres.owners import NoticeRow
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.kit import Kit

AT_ONCE: Final = 50

TEXTS: Final[Mapping[Notice, tuple[str, str]]] = MappingProxyType(
    {
        Notice.RELEASE_ASKED: (
            N_("{ups} is being released"),
            N_(
                "Somebody of your company releases {ups}. Within a minute, with its last readings stored, it"
                " belongs to nobody. Until then you can keep it on its page."
            ),
        ),
        Notice.RELEASE_CANCELLED: (
            N_("{ups} is kept"),
            N_("The release of {ups} was cancelled. It stays yours."),
        ),
        Notice.RELEASED: (
            N_("{ups} is no longer yours"),
            N_(
                "{ups} was released. Whoever holds its label may claim it again; nobody else sees what it"
                " reported while it was yours."
            ),
        ),
        Notice.OFFERED: (
            N_("You are offered {ups}"),
            N_("The owner of {ups} offers to transfer it to you. You have seven days to accept or decline."),
        ),
        Notice.OFFER_TAKEN: (
            N_("{ups} was transferred"),
            N_(
                "Your offer was accepted: {ups} belongs to another company now. They see nothing of your"
                " time."
            ),
        ),
        Notice.OFFER_DECLINED: (N_("Your offer was declined"), N_("{ups} was not accepted. It stays yours.")),
        Notice.OFFER_WITHDRAWN: (N_("An offer was withdrawn"), N_("{ups} is no longer offered to you.")),
        Notice.OFFER_EXPIRED: (
            N_("An offer has expired"),
            N_("Nobody accepted the offer of {ups} in seven days."),
        ),
        Notice.RECEIVED: (N_("{ups} is yours"), N_("{ups} belongs to your company now.")),
        Notice.REKEY_REQUESTED: (
            N_("A new device key asks for {ups}"),
            N_(
                "Something with the label of {ups} announces itself with an unknown device key. After a"
                " factory reset or a new board, approve it on the device's page once its fingerprint matches."
                " If it is not yours, dismiss it. Nothing has changed."
            ),
        ),
        Notice.REKEYED: (
            N_("{ups} has a new device key"),
            N_("The new device key of {ups} was approved; the old one is revoked."),
        ),
        Notice.REKEY_DISMISSED: (
            N_("A device key was dismissed"),
            N_("The device key that asked for {ups} was dismissed."),
        ),
        Notice.DISPUTED: (
            N_("Somebody else claims {ups}"),
            N_(
                "Another account entered the codes of the label of {ups}. Nothing has changed: it is yours."
                " On its page you can dismiss the claim, release the device or offer it."
            ),
        ),
        Notice.DISPUTE_DISMISSED: (
            N_("Your claim was dismissed"),
            N_("The claim of {ups} was dismissed: it is associated with another account."),
        ),
        Notice.DISPUTE_WITHDRAWN: (
            N_("A claim was withdrawn"),
            N_("The other account no longer claims {ups}."),
        ),
        Notice.LOST: (N_("{ups} is no longer yours"), N_("{ups} was given to another company.")),
        Notice.SECOND_HAND_ASKED: (
            N_("{ups} will leave your company in 14 days unless you object"),
            N_(
                "{ups} was reset, or its holder says that its owner is gone. If you still own it, object on"
                " its page within 14 days; you may also mark it as stolen there."
            ),
        ),
        Notice.SECOND_HAND_REMINDER: (
            N_("Reminder: {ups} will leave your company unless you object"),
            N_(
                "{ups} was reset, or its holder says that its owner is gone, and nobody of your company has"
                " objected yet. Unless you do so on its page by {due}, {ups} leaves your company then."
            ),
        ),
        Notice.SECOND_HAND_REFUSED: (
            N_("Your request was refused"),
            N_("The owner of {ups} is there: your request has ended."),
        ),
        Notice.SECOND_HAND_DONE: (
            N_("{ups} can be yours"),
            N_(
                "Nobody objected: {ups} is yours as soon as it announces itself with the device key you"
                " named."
            ),
        ),
        Notice.CLONE_SUSPECTED: (
            N_("Two devices use the key of {ups}"),
            N_(
                "Two devices took turns with the device key of {ups}. Until you decide on its page, it can"
                " neither be released nor transferred. Give it a new key by a factory reset, or clear the"
                " suspicion."
            ),
        ),
        Notice.CLONE_CLEARED: (
            N_("A suspicion was cleared"),
            N_("{ups} is no longer suspected to have a clone."),
        ),
        Notice.STOLEN_MARKED: (
            N_("{ups} is marked as stolen"),
            N_("{ups} can be neither released, transferred nor re-keyed until the mark is lifted."),
        ),
        Notice.STOLEN_LIFTED: (
            N_("{ups} is no longer marked as stolen"),
            N_("The mark on {ups} was lifted."),
        ),
    }
)
OWNERS: Final = frozenset(
    {
        *(Notice.RELEASE_ASKED, Notice.RELEASE_CANCELLED, Notice.OFFER_DECLINED, Notice.RECEIVED),
        *(Notice.REKEY_REQUESTED, Notice.REKEYED, Notice.REKEY_DISMISSED, Notice.DISPUTED),
        *(Notice.DISPUTE_WITHDRAWN, Notice.SECOND_HAND_ASKED, Notice.CLONE_SUSPECTED),
        Notice.SECOND_HAND_REMINDER,
        *(Notice.CLONE_CLEARED, Notice.STOLEN_MARKED, Notice.STOLEN_LIFTED),
    }
)
"""Those who are told of these see the device's page."""


def _date(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    locale = "en_GB" if spoken() == ENGLISH else spoken()
    return f"{format_date(at, 'long', locale=locale)}, {at:%H:%M} UTC"


def letter(notice: NoticeRow, to: str, kit: Kit, account_id: int | None) -> Mail:
    """The mail of a notice to one person, in the language that is spoken."""
    kind = Notice(notice.kind)
    ups = f"{notice.model or 'UPS'} ({notice.product_id})"
    due = "" if notice.due_ms is None else _date(notice.due_ms)
    subject, text = (gettext(part, ups=ups, due=due) for part in TEXTS[kind])
    page = f"{kit.portal_url}/transfers"
    if notice.link:
        text += "\n\n" + gettext(
            "Open {link}\nor enter this code at {page}: {code}",
            link=f"{page}#{notice.link}",
            page=page,
            code=notice.link,
        )
    elif kind is Notice.OFFERED:
        text += "\n\n" + gettext("Open {link}", link=page)
    elif kind in OWNERS:
        text += "\n\n" + gettext("Its page: {page}", page=f"{kit.portal_url}/devices/{notice.device_id}")
    return Mail(to, f"{kit.brand}: {subject}", f"{text}\n", f"ownership_{kind}", notice.ts_ms, account_id)


async def deliver(kit: Kit, now_ms: int) -> int:
    """Put the mails of new notices into the outbox; how many notices there were."""

    async def work(connection: Connection) -> int:
        notices = await owners.take_notices(connection, AT_ONCE)
        for notice in notices:
            people: list[tuple[str, int | None, str]] = []
            if notice.company_id is not None:
                people += await owners.heads_of(connection, notice.company_id)
            if notice.to_email is not None:
                known = await owners.language_of(connection, fold_email(notice.to_email))
                people.append((notice.to_email, None, known or spoken()))
            for to, account_id, language in people:
                with speaking(language):
                    mail = letter(notice, to, kit, account_id)
                await outbox.put(connection, mail)
            await owners.mark_mailed(connection, notice.device_id, notice.notice_id, now_ms)
        return len(notices)

    return await in_transaction(kit.pool, work)
