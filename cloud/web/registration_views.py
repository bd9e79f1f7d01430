"""Registered systems: the overview, registering online and offline, a new System ID for a registration.

The pages of the same names: System Registration Overview (/systems), Register Page (/systems/register),
Registering an Offline System (/systems/offline), System Association Page (/systems/associate). What a server
gives out (its link, its request) is a secret of a kind: it travels in fragments and forms only.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.language import gettext
from cloud.core.refusal import RefusedError
from cloud.core.system import SLOT_WORDS, Slot
from cloud.services import system_looking, system_registering
from cloud.services.system_registering import Outcome, Proof
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import KIT, POOL, SETTINGS, SYSTEM_KEYS, actor_of, is_secure, now_ms
from protocol.system import SystemId
from protocol.system_code import Operation, read_number, written_number

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
WAITING: Final = r"/systems/waiting/{system_id:[1-9A-Za-z]{43}}/{intent_id:[0-9a-f-]{36}}"


def proof_text(form: Mapping[str, str]) -> str:
    """What was typed, or what stood behind a link's #."""
    return (form.get("link") or form.get("system_id") or "").strip()


def _read(request: web.Request, text: str) -> Proof:
    return system_registering.read_proof(request.app[SYSTEM_KEYS].private, text)


def _after(outcome: Outcome, proof: Proof) -> web.Response:
    """Where to look now: at the registration, or at the page that waits for the server's yes."""
    if outcome.number is not None:
        return see_other(f"/systems/{written_number(outcome.number)}")
    return see_other(f"/systems/waiting/{proof.system_id.value}/{outcome.intent_id}")


# --- System Registration Overview ---------------------------------------------------------------------------


async def show_overview(request: web.Request) -> web.Response:
    """All systems of the company, and what it waits for."""
    actor = actor_of(request)
    found = await system_looking.overview(request.app[POOL], actor, now_ms())
    context = {
        "systems": found.systems,
        "waiting": found.waiting,
        "written_number": written_number,
        "slot_words": SLOT_WORDS,
        "may": actor.may(Action.CLAIM),
    }
    return page(request, "systems.html", context)


# --- Register Page ------------------------------------------------------------------------------------------


async def show_register(request: web.Request) -> web.Response:
    """The field for a System ID or what a server gives out, and the choice of a slot."""
    return _register_page(request, {}, {})


def _register_page(
    request: web.Request, fields: Mapping[str, str], faults: Mapping[str, str], proof: Proof | None = None
) -> web.Response:
    context = {
        "fields": fields,
        "faults": faults,
        "proof": proof,
        "text": proof_text(fields),
        "slots": [(slot.value, gettext(SLOT_WORDS[slot])) for slot in Slot],
    }
    status = UNPROCESSABLE if faults else 200
    return page(request, "system_register.html", context, status=status)


async def register(request: web.Request) -> web.Response:
    """Register; without a slot yet, ask for it."""
    form = await form_of(request)
    try:
        proof = _read(request, proof_text(form))
        if form.get("slot", "") not in set(Slot):
            text = gettext("Please choose what you are for this system.")
            faults = {"slot": text} if "chosen" in form else {}
            return _register_page(request, form, faults, proof)
        keys = request.app[SYSTEM_KEYS].private
        slot = Slot(form["slot"])
        outcome = await system_registering.register(
            request.app[KIT], keys, actor_of(request), proof, slot, now_ms()
        )
    except RefusedError as refusal:
        return _register_page(request, form, faults_of(refusal))
    return _after(outcome, proof)


# --- Registering an Offline System --------------------------------------------------------------------------


async def show_offline(request: web.Request) -> web.Response:
    """How it goes, and the field for a server's request."""
    return page(request, "system_offline.html", {"faults": {}, "text": ""})


async def take_request(request: web.Request) -> web.Response:
    """A request leads on: to register, or to associate."""
    form = await form_of(request)
    text = proof_text(form)
    try:
        proof = _read(request, text)
    except RefusedError as refusal:
        faults = faults_of(refusal)
        return page(request, "system_offline.html", {"faults": faults, "text": text}, status=UNPROCESSABLE)
    if proof.request is None:
        faults = {
            "system_id": gettext(
                "This is no request of a server, which has 18 groups of six characters. Let the"
                " server make one, or register it online."
            )
        }
        return page(request, "system_offline.html", {"faults": faults, "text": text}, status=UNPROCESSABLE)
    if proof.request.operation is Operation.ASSOCIATE:
        return await _association_page(request, form, {}, proof)
    return _register_page(request, form, {}, proof)


# --- System Association Page --------------------------------------------------------------------------------


async def show_association(request: web.Request) -> web.Response:
    """Enter a new System ID."""
    return await _association_page(request, {}, {}, None)


async def _association_page(
    request: web.Request, fields: Mapping[str, str], faults: Mapping[str, str], proof: Proof | None
) -> web.Response:
    found = await system_looking.overview(request.app[POOL], actor_of(request), now_ms())
    context = {
        "fields": fields,
        "faults": faults,
        "proof": proof,
        "text": proof_text(fields),
        "systems": found.systems,
        "written_number": written_number,
    }
    status = UNPROCESSABLE if faults else 200
    return page(request, "system_associate.html", context, status=status)


async def associate(request: web.Request) -> web.Response:
    """Proceed: choose the system. Then associate."""
    form = await form_of(request)
    proof = None
    try:
        proof = _read(request, proof_text(form))
        number_text, _, replaces = form.get("system", "").partition(".")
        number = read_number(number_text)
        if number is None:
            faults = {"system": gettext("Please select the system.")} if "chosen" in form else {}
            return await _association_page(request, form, faults, proof)
        keys = request.app[SYSTEM_KEYS].private
        outcome = await system_registering.associate(
            request.app[KIT], keys, actor_of(request), proof, number, replaces, now_ms()
        )
    except RefusedError as refusal:
        return await _association_page(request, form, faults_of(refusal), proof)
    return _after(outcome, proof)


# --- waiting for the server's yes ---------------------------------------------------------------------------


async def show_waiting(request: web.Request) -> web.Response:
    """A System ID that was only typed: what to do at the server; the registration, once it said yes."""
    system_id, intent_id = request.match_info["system_id"], request.match_info["intent_id"]
    pool, actor = request.app[POOL], actor_of(request)
    intent = await system_registering.find_intent(pool, actor, system_id, intent_id, now_ms())
    if intent.state == "done":
        mine = await system_looking.number_of(pool, actor, system_id)
        if mine is not None:
            return see_other(f"/systems/{written_number(mine)}")
    context = {
        "intent": intent,
        "written_id": SystemId.parse(system_id).written,
        "slot_words": SLOT_WORDS,
        "written_number": written_number,
    }
    return page(request, "system_waiting.html", context)


async def cancel_waiting(request: web.Request) -> web.Response:
    """Wait no longer."""
    await system_registering.cancel_intent(
        request.app[POOL],
        actor_of(request),
        request.match_info["system_id"],
        request.match_info["intent_id"],
        now_ms(),
    )
    return see_other("/systems")


async def show_help(request: web.Request) -> web.Response:
    """What a browser, a proxy or a firewall has to let through, and what the words of a refusal mean."""
    settings = request.app[SETTINGS]
    context = {
        "origin": settings.portal_url,
        "gateway": f"{settings.hosts[0]}:{settings.gateway_port}",
        "secure": is_secure(settings),
    }
    return page(request, "system_help.html", context)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/systems", show_overview)
    app.router.add_get("/systems/register", show_register)
    app.router.add_post("/systems/register", register)
    app.router.add_get("/systems/offline", show_offline)
    app.router.add_post("/systems/offline", take_request)
    app.router.add_get("/systems/associate", show_association)
    app.router.add_post("/systems/associate", associate)
    app.router.add_get("/systems/help", show_help)
    app.router.add_get(WAITING, show_waiting)
    app.router.add_post(WAITING + "/cancel", cancel_waiting)
