"""Why a log-in with a partner's account did not work, in words that say what to do next."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode

WORDS: Final[Mapping[RefusalCode, str]] = {
    RefusalCode.PARTNER_AWAY: N_(
        "{name} does not answer at the moment. Log in with your email address and"
        " password, or try again in a few minutes."
    ),
    RefusalCode.PARTNER_REFUSED: N_(
        "{name} did not prove who you are, so nobody was logged in. Please start"
        " again; if it happens once more, tell the operator of this portal."
    ),
    RefusalCode.PARTNER_UNVERIFIED: N_(
        "{name} has not verified your email address. Please verify it there, then log in again."
    ),
    RefusalCode.PARTNER_DENIED: N_(
        "Nobody was logged in, because {name} was not allowed to say who you are. You"
        " can start again, or log in with your email address and password."
    ),
    RefusalCode.PARTNER_GONE: N_(
        "This log-in took too long, was finished before, or began in another browser. Please start again."
    ),
    RefusalCode.OTHER_ADDRESS: N_(
        "Your invitation was sent to another email address than that of your account"
        " on {name}. Ask for an invitation to that one, or register with the address that was invited."
    ),
    RefusalCode.LINK_INVALID: N_("Your invitation has expired or was withdrawn. Ask for another one."),
}


def problem_words(request: web.Request, name: str) -> str:
    """What the page says that the address names a problem to; nothing for anything else."""
    code = request.query.get("problem", "")
    return next((gettext(words, name=name) for known, words in WORDS.items() if known == code), "")
