"""What pages that ask for a passkey tell the browser: where passkeys work, or why there can be none."""

from typing import Final

from cloud.core.language import N_, gettext
from cloud.core.passkey import Hindrance
from cloud.services import passkeys
from cloud.services.kit import Kit

WHY_NOT: Final = {
    Hindrance.NEEDS_NAME: N_(
        "This portal is at an address without a name, and browsers make no passkeys"
        " there. Whoever runs it can set public_url to an address with a name and https."
    ),
    Hindrance.NEEDS_HTTPS: N_(
        "This portal is not reached over https, and browsers make no passkeys without it."
        " Whoever runs it can set public_url to an address with https."
    ),
}


def passkey_facts(kit: Kit) -> dict[str, str]:
    """For ``_passkey.html``."""
    place = passkeys.place_of(kit)
    if isinstance(place, Hindrance):
        return {"passkey_origin": "", "passkey_host": "", "passkey_hindrance": gettext(WHY_NOT[place])}
    return {"passkey_origin": place.origin, "passkey_host": place.rp_id, "passkey_hindrance": ""}
