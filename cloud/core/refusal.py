"""Why something about accounts and companies is refused: stable codes and the words for people.

``RefusedError`` is the only error that the account services raise on purpose (``AccountError``, a field
that cannot be used, is one of them). ``code`` never changes its meaning; its words are said in the language
that is spoken. ``field`` names the form field if there is one; ``after_s`` says when to try again.
"""

from enum import StrEnum

from cloud.core.language import N_, gettext


class RefusalCode(StrEnum):
    """Append only: programs rely on them."""

    FIELD_INVALID = "field_invalid"
    EMAIL_TAKEN = "email_taken"
    SIGN_UP_GONE = "sign_up_gone"
    PRIVACY_NEEDED = "privacy_needed"
    CODE_WRONG = "code_wrong"
    CODE_EXPIRED = "code_expired"
    CODE_SPENT = "code_spent"
    RESEND_LATER = "resend_later"
    RESEND_ENOUGH = "resend_enough"
    LINK_INVALID = "link_invalid"
    LOGIN_GONE = "login_gone"
    PASSWORD_WRONG = "password_wrong"  # noqa: S105 - no password
    FACTOR_WRONG = "factor_wrong"
    FACTOR_OFF = "factor_off"
    FACTOR_ON = "factor_on"
    FRESH_NEEDED = "fresh_needed"
    TOO_FAST = "too_fast"
    ALREADY_INVITED = "already_invited"
    OTHER_ADDRESS = "other_address"
    ALREADY_MEMBER = "already_member"
    ROLE_NOT_ALLOWED = "role_not_allowed"
    LAST_OWNER = "last_owner"
    NOT_FOUND = "not_found"
    TOO_MANY_OPEN = "too_many_open"
    ROBOT_CHECK = "robot_check"
    PASSKEYS_UNAVAILABLE = "passkeys_unavailable"
    PASSKEY_EXPIRED = "passkey_expired"
    PASSKEY_WRONG = "passkey_wrong"
    PASSKEY_COPIED = "passkey_copied"
    PASSKEY_KNOWN = "passkey_known"
    LINK_WITHDRAWN = "link_withdrawn"
    PARTNER_AWAY = "partner_away"
    PARTNER_REFUSED = "partner_refused"
    PARTNER_UNVERIFIED = "partner_unverified"
    PARTNER_DENIED = "partner_denied"
    PARTNER_GONE = "partner_gone"
    PARTNER_TAKEN = "partner_taken"
    SYSTEM_RETIRED = "system_retired"
    SYSTEM_TAKEN = "system_taken"
    SLOT_TAKEN = "slot_taken"
    OTHER_SLOT = "other_slot"
    LEAD_REFUSED = "lead_refused"
    SUPERSEDED = "superseded"
    ROBOT_WAIT = "robot_wait"


TEXTS: dict[RefusalCode, str] = {
    RefusalCode.FIELD_INVALID: N_("This cannot be used."),
    RefusalCode.EMAIL_TAKEN: N_("An account with this email address exists already."),
    RefusalCode.SIGN_UP_GONE: N_("This registration is no longer open. Please start again."),
    RefusalCode.PRIVACY_NEEDED: N_("Please read the privacy notice and accept it."),
    RefusalCode.CODE_WRONG: N_("This is not the code from the newest email."),
    RefusalCode.CODE_EXPIRED: N_("This code is older than 10 minutes. Please ask for a new one."),
    RefusalCode.CODE_SPENT: N_("Too many wrong codes were entered. Please ask for a new one."),
    RefusalCode.RESEND_LATER: N_("A code was sent a moment ago. Please wait before asking for another one."),
    RefusalCode.RESEND_ENOUGH: N_("No more codes are sent for this request. Please start again."),
    RefusalCode.LINK_INVALID: N_("This link has expired, has been used, or is not complete."),
    RefusalCode.LOGIN_GONE: N_(
        "This log-in took too long. Please enter your email address and password again."
    ),
    RefusalCode.PASSWORD_WRONG: N_("The password is not right."),
    RefusalCode.FACTOR_WRONG: N_("This code is not right, or it was used before."),
    RefusalCode.FACTOR_OFF: N_("Two-Factor Authentication is not turned on."),
    RefusalCode.FACTOR_ON: N_("Two-Factor Authentication is turned on already."),
    RefusalCode.FRESH_NEEDED: N_("Please confirm that it is you."),
    RefusalCode.TOO_FAST: N_("Too many attempts. Please wait a moment."),
    RefusalCode.ALREADY_INVITED: N_(
        "This co-worker has already been invited to the portal. Please invite another co-worker."
    ),
    RefusalCode.OTHER_ADDRESS: N_(
        "This invitation was sent to another email address than that of your account."
    ),
    RefusalCode.ALREADY_MEMBER: N_("You are a member of this company already."),
    RefusalCode.ROLE_NOT_ALLOWED: N_("Your role does not allow this."),
    RefusalCode.LAST_OWNER: N_("A company needs an owner. Please make another member its owner first."),
    RefusalCode.NOT_FOUND: N_("There is nothing here."),
    RefusalCode.TOO_MANY_OPEN: N_("Too many of these are open. Please wait until some are done."),
    RefusalCode.SYSTEM_RETIRED: N_(
        "Another System ID has taken the place of this one, for good. Enter the"
        " System ID that the server shows now."
    ),
    RefusalCode.SYSTEM_TAKEN: N_(
        "This system is registered with another account already. Ask its holder to hand it over."
    ),
    RefusalCode.SLOT_TAKEN: N_("This slot has a holder already. Only its holder can hand it over."),
    RefusalCode.OTHER_SLOT: N_("Only the other account of this system can do this."),
    RefusalCode.LEAD_REFUSED: N_("These two cannot be lead and shadow."),
    RefusalCode.SUPERSEDED: N_(
        "Somebody else has associated another System ID meanwhile. Look at the system again, then decide."
    ),
    RefusalCode.ROBOT_CHECK: N_(
        "Please select the ‘I am not a robot’ checkbox and wait until it is checked."
    ),
    RefusalCode.ROBOT_WAIT: N_(
        "Without JavaScript this check takes a while. Your turn is kept for you: please"
        " press the button again then."
    ),
    RefusalCode.PASSKEYS_UNAVAILABLE: N_("Passkeys do not work at the address of this portal."),
    RefusalCode.PASSKEY_EXPIRED: N_("This took too long, or was sent before. Please try again."),
    RefusalCode.PASSKEY_WRONG: N_(
        "This passkey does not prove that it is you. Please use one of your own,"
        " and confirm with your fingerprint, face or PIN when you are asked to."
    ),
    RefusalCode.PASSKEY_COPIED: N_(
        "This passkey was not accepted: its counter has gone back, so there may be a"
        " copy of it. Please use another method, then remove this passkey."
    ),
    RefusalCode.PASSKEY_KNOWN: N_("This passkey is registered already."),
    RefusalCode.LINK_WITHDRAWN: N_("This invitation was withdrawn. Please ask your co-worker for a new one."),
    RefusalCode.PARTNER_AWAY: N_("The other portal does not answer at the moment. Please try again later."),
    RefusalCode.PARTNER_REFUSED: N_("The other portal did not prove who you are. Please start again."),
    RefusalCode.PARTNER_UNVERIFIED: N_("The other portal has not verified your email address."),
    RefusalCode.PARTNER_DENIED: N_(
        "The other portal was not allowed to say who you are. Please start again."
    ),
    RefusalCode.PARTNER_GONE: N_(
        "This log-in took too long, was finished before, or began in another browser. Please start again."
    ),
    RefusalCode.PARTNER_TAKEN: N_(
        "One of the two is connected with another account already. Disconnect that one first."
    ),
}


class RefusedError(Exception):
    """Something was asked that is not done; nothing has changed, unless a try was counted."""

    def __init__(
        self,
        code: RefusalCode,
        *,
        text: str | None = None,
        field: str | None = None,
        after_s: int | None = None,
    ) -> None:
        super().__init__(text or gettext(TEXTS[code]))
        self.code = code
        self.field = field
        self.after_s = after_s
