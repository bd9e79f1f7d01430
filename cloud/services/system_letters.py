"""Mails about registrations of systems: plain sentences, one purpose each; secrets in fragments only."""

from collections.abc import Mapping

from cloud.core.language import gettext as _
from cloud.core.mail import Mail
from cloud.core.system import OFFER_LIFE_MS, SLOT_WORDS, OfferKind, Slot
from cloud.core.system_data import CHOICES, PARTS
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
    lines = [
        f"{_(FIELDS[name])}: {_(data[name]) if name in CHOICES else data[name]}"
        for names in PARTS.values()
        for name in names
        if data.get(name)
    ]
    return Mail(
        to,
        f"{kit.brand}: " + _("registration {number} – please check it", number=written_number(number)),
        _("This is what is registered of your system:")
        + "\n\n"
        + "\n".join(lines)
        + "\n\n"
        + _("If something is wrong, change it at {page}", page=page_of(kit, number))
        + "\n",
        "system_data",
        now_ms,
        account_id=account_id,
    )


def offer(
    kit: Kit, to: str, token: str, slot: Slot, kind: OfferKind, company: str, site: str, now_ms: int
) -> Mail:
    """The link to a slot that was offered."""
    words, system = _(SLOT_WORDS[slot]), site or _("a registered system")
    if kind is OfferKind.INVITE:
        what = _(
            "{company} invites you to a place at {system}: {slot}.",
            company=company,
            system=system,
            slot=words,
        )
    else:
        what = _(
            "{company} hands its place at {system} over to you: {slot}.",
            company=company,
            system=system,
            slot=words,
        )
    link = f"{kit.portal_url}/systems/offer#{token}"
    return Mail(
        to,
        f"{kit.brand}: " + _("{company} offers you a registered system", company=company),
        what
        + "\n\n"
        + _("Open this link within seven days, logged in with the account of this address:")
        + f"\n{link}\n\n"
        + _("Or enter this code there: {code}", code=token)
        + "\n",
        "system_offer",
        now_ms,
        expires_ms=now_ms + OFFER_LIFE_MS,
    )
