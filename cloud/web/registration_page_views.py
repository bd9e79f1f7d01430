"""The System Information Page: one registered system, what is registered of it, its slots, lead and shadows.

Acts that need a fresh factor take it in the same form, as those on devices do.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core import system_data
from cloud.core.authz import Action
from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import SLOT_WORDS, Slot
from cloud.core.system_data import CHOICES, DATES, EMAILS, PARTS, REQUIRED, Part
from cloud.services import second_factor, system_editing, system_looking, system_slots
from cloud.services.system_looking import Detail
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import FORM, faults_of, form_of, problem_of
from cloud.web.responses import page, see_other, wants_json
from cloud.web.safety_views import qr_code
from cloud.web.state import KIT, POOL, SETTINGS, actor_of, now_ms, session_of
from cloud.web.tables import locations
from protocol.system import FIELDS, Source, SystemId
from protocol.system_code import DAY_MS, read_number, written_number

SYSTEM: Final = "/systems/{number:[0-9A-HJKMNP-TV-Z]{6}}"
NOTHING: Final[Mapping[str, str]] = {}
UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
PROVE: Final = N_("Please enter the code of your authenticator, or your password, and try again.")
PART_WORDS: Final[Mapping[Part, str]] = {
    Part.DATA: N_("System"),
    Part.CONTACTS: N_("Contact at the site"),
    Part.INTEGRATOR: N_("Contact at the integrator"),
    Part.WARRANTY: N_("Warranty"),
}
KIND_WORDS: Final[Mapping[str, str]] = {
    "enterprise_server": N_("Enterprise Server"),
    "standalone": N_("Stand-alone server"),
}
CHANGE_WORDS: Final[Mapping[str, str]] = {
    "registered": N_("Registered with the System ID"),
    "system_id": N_("New System ID associated"),
    "integrator": N_("System integrator"),
    "end_user": N_("End-user"),
    "warranty_ends": N_("Told that the warranty ends soon"),
    "warranty_ended": N_("Told that the warranty has ended"),
    "lead": N_("Lead"),
    "attached": N_("Attached to the Enterprise Server"),
    "consent_information": N_("Consent to share system information"),
    "consent_personal": N_("Consent to share personal information"),
    "share_ups": N_("UPSs shown to the integrator"),
    "offered": N_("Slot offered"),
    "withdrawn": N_("Offer withdrawn"),
    "declined": N_("Offer declined"),
    "ended": N_("Registration deleted"),
}
AGREED: Final = frozenset({"consent_information", "consent_personal", "share_ups"})
"""Changes from or to :data:`YES`; without it is nothing."""
YES: Final = N_("yes")
COMPLETES: Final[Mapping[str, str]] = {
    "company": "organization",
    "address": "address-line1",
    "address2": "address-line2",
    "city": "address-level2",
    "zip": "postal-code",
    "state": "address-level1",
    "country": "country",
}


def number_of_path(request: web.Request) -> int:
    """The registration of the path."""
    number = read_number(request.match_info["number"])
    if number is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return number


async def _own(request: web.Request) -> Detail:
    return await system_looking.find(request.app[POOL], actor_of(request), number_of_path(request), now_ms())


# --- System Information Page --------------------------------------------------------------------------------


async def show_system(request: web.Request) -> web.Response:
    """Everything about one system."""
    return await _page(request, {})


async def _page(
    request: web.Request, faults: Mapping[str, str], status: int = 200, typed: Mapping[str, str] = NOTHING
) -> web.Response:
    one, actor = await _own(request), actor_of(request)
    others = (await system_looking.overview(request.app[POOL], actor, now_ms())).systems
    code = one.code
    context: dict[str, Any] = {
        "one": one,
        "number": written_number(one.system.number),
        "written_id": SystemId.parse(one.system.system_id).written,
        "written_number": written_number,
        "parts": _parts(one),
        "source": one.source,
        "Source": Source,
        "code": None if code is None else code.code,
        "code_until_ms": None if code is None else (code.day + 1) * DAY_MS - 1,
        "code_qr": None if code is None else qr_code(code.code),
        "slot_words": SLOT_WORDS,
        "slots": list(Slot),
        "typed": {name: typed.get(name, "") for name in ("slot", "email")},
        "holder_of": {row.slot: row for row in one.holders},
        "leads": [row for row in others if row.number != one.system.number and row.lead_number is None],
        "history": [_line(row) for row in one.history],
        "kinds": KIND_WORDS,
        "fresh": session_of(request).is_fresh(now_ms()),
        "may_edit": actor.may(Action.NAME) and bool(one.writable),
        "may_decide": actor.may(Action.TRANSFER),
        "may_consent": actor.may(Action.COMPANY) and Slot.END_USER in one.slots,
        "faults": faults,
    }
    return page(request, "system.html", context, status=status)


def _parts(one: Detail) -> list[tuple[Part, str, list[tuple[str, str]]]]:
    """Each part with its words and its filled-in fields, of what is shown."""
    return [
        (
            part,
            PART_WORDS[part],
            [(FIELDS[name], _shown(name, one.data[name])) for name in names if one.data.get(name)],
        )
        for part, names in PARTS.items()
    ]


def _shown(name: str, value: str) -> str:
    if name == "country":
        return locations().get(value, value)
    return gettext(value) if value in CHOICES.get(name, ()) else value


def _line(row: Any) -> dict[str, Any]:
    known = FIELDS[row.field] if row.kind == "field" else CHANGE_WORDS.get(row.kind, row.kind)
    what = gettext(known)
    if row.field in set(Slot):
        what = f"{what}: {gettext(SLOT_WORDS[Slot(row.field)])}"
    words: Callable[[str], str] = partial(_shown, row.field)
    if row.kind == "lead":
        words = _lead_words
    elif row.kind in AGREED:
        words = gettext
    by = ", ".join(part for part in (row.person, row.company) if part)
    return {
        "ts_ms": row.ts_ms,
        "what": what,
        "before": words(row.before),
        "after": words(row.after),
        "by": by,
    }


def _lead_words(text: str) -> str:
    return written_number(int(text)) if text else ""


# --- Register Page: the data --------------------------------------------------------------------------------


async def show_data(request: web.Request) -> web.Response:
    """The form with the fields that may be written."""
    one = await _own(request)
    if not one.writable:
        raise RefusedError(RefusalCode.OTHER_SLOT)
    return _data_page(request, one, one.own, {})


def _data_page(
    request: web.Request,
    one: Detail,
    values: Mapping[str, str],
    faults: Mapping[str, str],
    *,
    check: bool = False,
) -> web.Response:
    parts = [(part, PART_WORDS[part], PARTS[part]) for part in PARTS if part in one.writable]
    context = {
        "one": one,
        "number": written_number(one.system.number),
        "parts": parts,
        "labels": FIELDS,
        "values": {name: values.get(name, "") for name in FIELDS},
        "shown": {name: _shown(name, values.get(name, "")) for name in FIELDS},
        "required": REQUIRED,
        "choices": CHOICES,
        "dates": DATES,
        "emails": EMAILS,
        "completes": COMPLETES,
        "locations": list(locations().items()),
        "faults": faults,
        "check": check,
    }
    return page(request, "system_data.html", context, status=UNPROCESSABLE if faults else 200)


async def save_data(request: web.Request) -> web.Response:
    """First show what was entered, to be checked; then store it."""
    one, form = await _own(request), await form_of(request)
    try:
        values = system_data.parse(form, one.writable)
        if form.get("step") != "save":
            return _data_page(request, one, {**values}, {}, check=form.get("step") == "check")
        await system_editing.save(
            request.app[KIT], actor_of(request), one.system.number, one.writable, form, now_ms()
        )
    except RefusedError as refusal:
        return _data_page(request, one, form, faults_of(refusal))
    return see_other(f"/systems/{written_number(one.system.number)}")


# --- acts ---------------------------------------------------------------------------------------------------

Act = Callable[[web.Request, int, Mapping[str, str], bool], Awaitable[None]]


async def _consents(request: web.Request, number: int, form: Mapping[str, str], _fresh: bool) -> None:
    await system_editing.consent(
        request.app[KIT],
        actor_of(request),
        number,
        information=form.get("information") == "on",
        personal=form.get("personal") == "on",
        share_ups=form.get("share_ups") == "on",
        now_ms=now_ms(),
    )


async def _lead(request: web.Request, number: int, form: Mapping[str, str], _fresh: bool) -> None:
    kit, actor = request.app[KIT], actor_of(request)
    text = form.get("lead", "")
    lead = read_number(text)
    if not text:
        await system_editing.stand_alone(kit, actor, number, now_ms())
    elif lead is None:
        raise RefusedError(RefusalCode.FIELD_INVALID, text=gettext("Please choose a lead."), field="lead")
    else:
        await system_editing.follow(kit, actor, number, lead, now_ms())


async def _offer(request: web.Request, number: int, form: Mapping[str, str], fresh: bool) -> None:
    slot = _slot(form)
    await system_slots.offer(
        request.app[KIT], actor_of(request), number, slot, form.get("email", ""), now_ms(), fresh=fresh
    )


async def _withdraw(request: web.Request, number: int, form: Mapping[str, str], _fresh: bool) -> None:
    await system_slots.withdraw(request.app[POOL], actor_of(request), number, form.get("offer", ""), now_ms())


async def _leave(request: web.Request, number: int, form: Mapping[str, str], fresh: bool) -> None:
    await system_slots.leave(request.app[KIT], actor_of(request), number, _slot(form), now_ms(), fresh=fresh)


async def _delete(request: web.Request, number: int, _form: Mapping[str, str], fresh: bool) -> None:
    await system_slots.end(request.app[KIT], actor_of(request), number, now_ms(), fresh=fresh)


def _slot(form: Mapping[str, str]) -> Slot:
    if form.get("slot", "") not in set(Slot):
        raise RefusedError(RefusalCode.FIELD_INVALID, text=gettext("Please choose a slot."), field="slot")
    return Slot(form["slot"])


ACTS: Final[Mapping[str, Act]] = {
    "consents": _consents,
    "lead": _lead,
    "offer": _offer,
    "withdraw": _withdraw,
    "leave": _leave,
    "delete": _delete,
}


async def is_fresh(request: web.Request, form: Mapping[str, str]) -> bool:
    """Whether who asks has just shown a factor, be it in this very form. RefusedError where it is wrong."""
    session, at_ms, proof = session_of(request), now_ms(), form.get("proof", "")
    if session.is_fresh(at_ms):
        return True
    if not proof:
        return False
    await second_factor.step_up(request.app[KIT], session, code=proof, password=proof, now_ms=at_ms)
    return True


async def act(request: web.Request) -> web.Response:
    """Do what the form asks, then show the system again, or the overview where it is no longer theirs."""
    number, form = number_of_path(request), await form_of(request)
    name = request.path.rsplit("/", 1)[1]
    await _own(request)
    try:
        fresh = await is_fresh(request, form)
        await ACTS[name](request, number, form, fresh)
    except RefusedError as refusal:
        if refusal.code is RefusalCode.NOT_FOUND:
            raise
        text = str(refusal)
        if refusal.code is RefusalCode.FRESH_NEEDED:
            text = gettext(PROVE)
        return await _page(request, {FORM: text}, UNPROCESSABLE, form)
    gone = name in {"leave", "delete"}
    return see_other("/systems" if gone else f"/systems/{written_number(number)}")


# --- offers of others ---------------------------------------------------------------------------------------


async def show_offer_entry(request: web.Request) -> web.Response:
    """The field for the code of a mailed offer."""
    return page(request, "system_offer.html", {"offer": None, "token": "", "fault": ""})


async def show_offer(request: web.Request) -> web.Response:
    """What is offered; a POST, for the code is a secret."""
    form = await form_of(request)
    token = (form.get("link") or form.get("token") or "").strip()
    try:
        return await _offer_page(request, token)
    except RefusedError as refusal:
        if wants_json(request):
            raise
        told = problem_of(refusal, request.app[SETTINGS].brand)
        context = {"offer": None, "token": token, "fault": told.detail or gettext(told.kind.detail)}
        return page(request, "system_offer.html", context, status=told.kind.status.value)


async def _offer_page(request: web.Request, token: str, fault: str = "") -> web.Response:
    found = await system_slots.see_offer(request.app[POOL], actor_of(request), token, now_ms())
    context = {
        "offer": found,
        "token": token,
        "fault": fault,
        "slot_word": SLOT_WORDS[Slot(found.slot)],
        "number": written_number(found.number),
        "fresh": session_of(request).is_fresh(now_ms()),
    }
    return page(request, "system_offer.html", context, status=UNPROCESSABLE if fault else 200)


async def answer_offer(request: web.Request) -> web.Response:
    """Accept or decline."""
    form = await form_of(request)
    token = (form.get("token") or form.get("link") or "").strip()
    actor = actor_of(request)
    try:
        if request.path.endswith("/decline"):
            await system_slots.decline_offer(request.app[KIT], actor, token, now_ms())
            return see_other("/systems")
        fresh = await is_fresh(request, form)
        number = await system_slots.take_offer(request.app[KIT], actor, token, now_ms(), fresh=fresh)
    except RefusedError as refusal:
        if refusal.code in {RefusalCode.LINK_INVALID, RefusalCode.OTHER_ADDRESS}:
            raise
        text = str(refusal)
        if refusal.code is RefusalCode.FRESH_NEEDED:
            text = gettext(PROVE)
        return await _offer_page(request, token, text)
    return see_other(f"/systems/{written_number(number)}")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/systems/offer", show_offer_entry)
    app.router.add_post("/systems/offer", show_offer)
    app.router.add_post("/systems/offer/accept", answer_offer)
    app.router.add_post("/systems/offer/decline", answer_offer)
    app.router.add_get(SYSTEM, show_system)
    app.router.add_get(SYSTEM + "/data", show_data)
    app.router.add_post(SYSTEM + "/data", save_data)
    for name in ACTS:
        app.router.add_post(f"{SYSTEM}/{name}", act)
