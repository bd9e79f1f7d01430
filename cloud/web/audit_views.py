"""*Company → Audit trail*: what people did in the company, and what happened to its devices."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.language import N_, gettext
from cloud.postgres import audit_trail
from cloud.services.outages import END_OF_TIME_MS
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.state import POOL, actor_of

SHOWN: Final = 100
_WORDS: Final[Mapping[str, str]] = {
    "account_created": N_("Account created"),
    "account_deleted": N_("Account deleted"),
    "announced": N_("Announced"),
    "app_added": N_("App added"),
    "app_removed": N_("App removed"),
    "bound": N_("Device claimed"),
    "cancelled": N_("Cancelled"),
    "claimed": N_("Claimed"),
    "clone_dismissed": N_("Clone dismissed"),
    "clone_done": N_("Clone done"),
    "clone_opened": N_("Clone opened"),
    "clone_void": N_("Clone void"),
    "command": N_("Command"),
    "company_changed": N_("Company changed"),
    "dispute_dismissed": N_("Dispute dismissed"),
    "dispute_done": N_("Dispute done"),
    "dispute_expired": N_("Dispute expired"),
    "dispute_opened": N_("Dispute opened"),
    "dispute_void": N_("Dispute void"),
    "dispute_withdrawn": N_("Dispute withdrawn"),
    "email_change_asked": N_("Email change asked"),
    "email_changed": N_("Email changed"),
    "expired": N_("Expired"),
    "factor_guessed": N_("Factor guessed"),
    "factor_not_required": N_("Factor not required"),
    "factor_off": N_("Factor off"),
    "factor_off_by_operator": N_("Factor off by operator"),
    "factor_on": N_("Factor on"),
    "factor_required": N_("Factor required"),
    "handed_over": N_("Handed over"),
    "invitation_resent": N_("Invitation resent"),
    "invitation_withdrawn": N_("Invitation withdrawn"),
    "invited": N_("Invited"),
    "joined": N_("Joined"),
    "log_ins_ended": N_("Log ins ended"),
    "login": N_("Logged in"),
    "logout": N_("Logged out"),
    "member_removed": N_("Member removed"),
    "offer_declined": N_("Offer declined"),
    "offer_done": N_("Offer done"),
    "offer_expired": N_("Offer expired"),
    "offer_opened": N_("Offer opened"),
    "offer_void": N_("Offer void"),
    "offer_withdrawn": N_("Offer withdrawn"),
    "partner_connected": N_("Partner connected"),
    "partner_disconnected": N_("Partner disconnected"),
    "passkey_added": N_("Passkey added"),
    "passkey_copied": N_("Passkey copied"),
    "passkey_removed": N_("Passkey removed"),
    "password_changed": N_("Password changed"),
    "password_reset": N_("Password reset"),
    "password_reset_asked": N_("Password reset asked"),
    "picked": N_("Picked"),
    "profile": N_("Device named"),
    "profile_changed": N_("Profile changed"),
    "proved_again": N_("Proved again"),
    "received": N_("Received"),
    "recovery_codes": N_("Recovery codes"),
    "recovery_used": N_("Recovery used"),
    "refused": N_("Refused"),
    "rekey_dismissed": N_("Rekey dismissed"),
    "rekey_done": N_("Rekey done"),
    "rekey_expired": N_("Rekey expired"),
    "rekey_opened": N_("Rekey opened"),
    "rekey_void": N_("Rekey void"),
    "rekey_withdrawn": N_("Rekey withdrawn"),
    "rekeyed": N_("Rekeyed"),
    "release_done": N_("Release done"),
    "release_expired": N_("Release expired"),
    "release_opened": N_("Release opened"),
    "release_void": N_("Release void"),
    "release_withdrawn": N_("Release withdrawn"),
    "released": N_("Released"),
    "revoked": N_("Revoked"),
    "role_changed": N_("Role changed"),
    "rule_changed": N_("Rule changed"),
    "rule_deleted": N_("Rule deleted"),
    "rule_made": N_("Rule made"),
    "schedule_ended": N_("Schedule ended"),
    "schedule_set": N_("Schedule set"),
    "second_hand_dismissed": N_("Second hand dismissed"),
    "second_hand_done": N_("Second hand done"),
    "second_hand_expired": N_("Second hand expired"),
    "second_hand_opened": N_("Second hand opened"),
    "second_hand_reminded": N_("Second hand reminded"),
    "second_hand_void": N_("Second hand void"),
    "second_hand_withdrawn": N_("Second hand withdrawn"),
    "settings": N_("Settings"),
    "signed_up": N_("Signed up"),
    "stolen_done": N_("Stolen done"),
    "stolen_opened": N_("Stolen opened"),
    "stolen_void": N_("Stolen void"),
    "stolen_withdrawn": N_("Stolen withdrawn"),
    "token_made": N_("API token made"),
    "token_revoked": N_("API token revoked"),
}


def words_of(kind: str) -> str:
    """A kind of line for people; one that has no words here is shown by its own name."""
    words = _WORDS.get(kind)
    return gettext(words) if words else kind.replace("_", " ").capitalize()


async def show_audit(request: web.Request) -> web.Response:
    """The newest lines, or those before a time; for the company's heads."""
    actor = actor_of(request)
    actor.must(Action.MEMBERS)
    text = request.query.get("before_ms", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 15):
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext("before_ms is unix time in milliseconds."))
    before_ms = int(text) if text else END_OF_TIME_MS
    lines = await audit_trail.of_company(
        request.app[POOL], actor.company_id, from_ms=0, to_ms=before_ms, limit=SHOWN
    )
    context = {
        "lines": [(line, words_of(line.kind)) for line in lines],
        "older_before_ms": lines[-1].ts_ms if len(lines) == SHOWN else None,
        "is_first": not text,
    }
    return page(request, "audit.html", context)


def add_routes(app: web.Application) -> None:
    """Register this view."""
    app.router.add_get("/company/audit", show_audit)
