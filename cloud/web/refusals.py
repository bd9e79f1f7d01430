"""Refusals of the account services: as faults beside form fields, or as problems."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.core.language import gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import FormError
from cloud.web.problems import Problem, ProblemCode
from cloud.web.wording import brand_words

FORM: Final = "form"
"""The key of a fault that belongs to no field."""
MAX_FIELD_CHARS: Final = 2000
MAX_DIGITS: Final = 18

_PROBLEMS: Final = {
    RefusalCode.NOT_FOUND: ProblemCode.NOT_FOUND,
    RefusalCode.TOO_FAST: ProblemCode.TOO_MANY,
    RefusalCode.RESEND_LATER: ProblemCode.TOO_MANY,
    RefusalCode.RESEND_ENOUGH: ProblemCode.TOO_MANY,
    RefusalCode.TOO_MANY_OPEN: ProblemCode.TOO_MANY,
    RefusalCode.ROLE_NOT_ALLOWED: ProblemCode.FORBIDDEN,
    RefusalCode.FRESH_NEEDED: ProblemCode.FACTOR_NEEDED,
    RefusalCode.FIELD_INVALID: ProblemCode.FIELD_INVALID,
    RefusalCode.EMAIL_TAKEN: ProblemCode.EMAIL_TAKEN,
    RefusalCode.CODE_WRONG: ProblemCode.CODE_WRONG,
    RefusalCode.CODE_EXPIRED: ProblemCode.CODE_EXPIRED,
    RefusalCode.CODE_SPENT: ProblemCode.CODE_SPENT,
    RefusalCode.LINK_INVALID: ProblemCode.LINK_INVALID,
    RefusalCode.PASSWORD_WRONG: ProblemCode.PASSWORD_WRONG,
    RefusalCode.FACTOR_WRONG: ProblemCode.FACTOR_WRONG,
    RefusalCode.FACTOR_OFF: ProblemCode.FACTOR_OFF,
    RefusalCode.FACTOR_ON: ProblemCode.FACTOR_ON,
    RefusalCode.ALREADY_INVITED: ProblemCode.ALREADY_INVITED,
    RefusalCode.OTHER_ADDRESS: ProblemCode.OTHER_ADDRESS,
    RefusalCode.ALREADY_MEMBER: ProblemCode.ALREADY_MEMBER,
    RefusalCode.LAST_OWNER: ProblemCode.LAST_OWNER,
    RefusalCode.ROBOT_CHECK: ProblemCode.ROBOT_CHECK,
    RefusalCode.ROBOT_WAIT: ProblemCode.TOO_MANY,
    RefusalCode.SYSTEM_RETIRED: ProblemCode.SYSTEM_RETIRED,
    RefusalCode.SYSTEM_TAKEN: ProblemCode.SYSTEM_TAKEN,
    RefusalCode.SLOT_TAKEN: ProblemCode.SLOT_TAKEN,
    RefusalCode.OTHER_SLOT: ProblemCode.OTHER_SLOT,
    RefusalCode.LEAD_REFUSED: ProblemCode.LEAD_REFUSED,
    RefusalCode.SUPERSEDED: ProblemCode.SUPERSEDED,
    RefusalCode.LOGIN_GONE: ProblemCode.LOGIN_GONE,
    RefusalCode.PASSKEYS_UNAVAILABLE: ProblemCode.PASSKEYS_UNAVAILABLE,
    RefusalCode.PASSKEY_EXPIRED: ProblemCode.PASSKEY_EXPIRED,
    RefusalCode.PASSKEY_WRONG: ProblemCode.PASSKEY_WRONG,
    RefusalCode.PASSKEY_COPIED: ProblemCode.PASSKEY_COPIED,
    RefusalCode.PASSKEY_KNOWN: ProblemCode.PASSKEY_KNOWN,
    RefusalCode.LINK_WITHDRAWN: ProblemCode.LINK_WITHDRAWN,
}


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a posted form, each capped; files are ignored."""
    posted = await request.post()
    return {name: value[:MAX_FIELD_CHARS] for name, value in posted.items() if isinstance(value, str)}


def number_of(form: Mapping[str, str], field: str) -> int:
    """A number in a hidden field. Problem bad_request."""
    text = form.get(field, "")
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise Problem(ProblemCode.BAD_REQUEST)
    return int(text)


def faults_of(refusal: RefusedError) -> dict[str, str]:
    """Field → text, for a form that is shown again."""
    if isinstance(refusal, FormError):
        return refusal.faults
    text = str(refusal)
    if refusal.after_s is not None:
        text += " " + gettext("Try again in {seconds} s.", seconds=refusal.after_s)
    return {refusal.field or FORM: text}


def branded(refusal: RefusedError, brand: str) -> RefusedError:
    """The same refusal in the words of this brand."""
    if refusal.code is not RefusalCode.ALREADY_INVITED:
        return refusal
    text = brand_words(brand).already_invited
    return RefusedError(refusal.code, text=text, field=refusal.field, after_s=refusal.after_s)


def problem_of(refusal: RefusedError, brand: str) -> Problem:
    """For a refusal that no form shows, in the words of this brand."""
    refusal = branded(refusal, brand)
    code = _PROBLEMS.get(refusal.code, ProblemCode.REFUSED)
    more = {"faults": faults_of(refusal)} if refusal.field else {}
    return Problem(code, detail=str(refusal), retry_after_s=refusal.after_s, more=more)
