"""Threshold rules: the company's list, one rule with what it did, and the rules of one device."""

import math
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.device_state import DeviceView
from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.rule import SUBJECTS
from cloud.core.rule_draft import TEMPLATES, Draft
from cloud.postgres.devices import find_view
from cloud.postgres.rules import Listed
from cloud.services import ruling
from cloud.web import rule_words
from cloud.web.device_views import own_device
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import POOL, actor_of, now_ms, session_of

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
SHOWN_DEEDS: Final = 50
SHOWN_RAISED: Final = 50
_MINUTES: Final = {"hold": "hold_s", "clear": "clear_s", "gap": "gap_s"}
"""Field of the form (in minutes) → field of a draft (in seconds)."""
_WORDS: Final[Mapping[str, str]] = {
    "hold_s": N_("Please enter 0 to 10080 minutes."),
    "clear_s": N_("Please enter 0 to 10080 minutes."),
    "gap_s": N_("Please enter 1 to 1440 minutes."),
}


async def show_rules(request: web.Request) -> web.Response:
    """All rules of the company, what they did lately, and rules to begin with."""
    pool, actor = request.app[POOL], actor_of(request)
    context = {
        "listed": _told(await ruling.list_rules(pool, actor)),
        "deeds": await ruling.lately(pool, actor, now_ms(), limit=SHOWN_DEEDS),
        "templates": TEMPLATES,
        "may_change": actor.may(Action.RULES),
        "deed_text": rule_words.deed_text,
    }
    return page(request, "rules.html", context)


def _told(listed: list[Listed]) -> list[tuple[Listed, str]]:
    return [(one, rule_words.sentence(one.rule.condition)) for one in listed]


async def show_device_rules(request: web.Request) -> web.Response:
    """The rules that are about one device, and when its battery was put in."""
    return await _device_rules(request, await own_device(request), {}, "")


async def _device_rules(
    request: web.Request, view: DeviceView, faults: Mapping[str, str], installed: str
) -> web.Response:
    pool, actor = request.app[POOL], actor_of(request)
    context = {
        "view": view,
        "listed": _told(await ruling.of_device(pool, actor, view.device_id, view.epoch)),
        "deeds": [
            deed
            for deed in await ruling.lately(pool, actor, now_ms(), limit=500)
            if deed.device_id == view.device_id
        ][:SHOWN_DEEDS],
        "installed": installed or await ruling.battery_day(pool, actor, view.device_id),
        "faults": faults,
        "may_change": actor.may(Action.RULES),
        "deed_text": rule_words.deed_text,
    }
    return page(request, "device_rules.html", context, status=UNPROCESSABLE if faults else 200)


async def set_battery(request: web.Request) -> web.Response:
    """Take the date on which the battery was put in."""
    view, form = await own_device(request), await form_of(request)
    installed = form.get("installed", "")
    try:
        await ruling.set_battery(request.app[POOL], actor_of(request), view.device_id, installed, now_ms())
    except RefusedError as refusal:
        if refusal.field:
            return await _device_rules(request, view, faults_of(refusal), installed)
        raise
    back = "#battery" if form.get("back") == "device" else "/rules"
    return see_other(f"/devices/{view.device_id}{back}")


# --- one rule -----------------------------------------------------------------------------------------------


async def show_new(request: web.Request) -> web.Response:
    """An empty form, or one of the templates; for all devices, or for the one that is named."""
    actor_of(request).must(Action.RULES)
    template = TEMPLATES.get(request.query.get("template", ""))
    draft = Draft(name="", subject="", side="above", threshold=math.nan)
    if template is not None:
        draft = replace(template.draft, name=gettext(template.draft.name))
    device = await _device_of(request, request.query.get("device", ""))
    return await _form(request, _fields_of(draft), device=device)


async def make(request: web.Request) -> web.Response:
    """Make a rule."""
    form = await form_of(request)
    device = await _device_of(request, form.get("device", ""))
    try:
        rule_id = await ruling.make(
            request.app[POOL],
            actor_of(request),
            _draft_of(form),
            now_ms(),
            device_id=None if device is None else device.device_id,
            site_id=_site_of(form),
        )
    except RefusedError as refusal:
        if refusal.code is RefusalCode.NOT_FOUND:
            raise
        return await _form(request, form, device=device, faults=_faults(refusal))
    return see_other(f"/rules/{rule_id}")


async def show_rule(request: web.Request) -> web.Response:
    """What a rule says, where it is raised, what it did lately; and its form."""
    found = await _own_rule(request)
    return await _rule_page(request, found, _fields_of(ruling.draft_of(found)), {})


async def _rule_page(
    request: web.Request, found: Listed, fields: Mapping[str, str], faults: Mapping[str, str]
) -> web.Response:
    pool, actor, rule_id = request.app[POOL], actor_of(request), found.rule.rule_id
    context = {
        "one": found,
        "sentence": rule_words.sentence(found.rule.condition),
        "raised": await ruling.raised_on(pool, actor, rule_id, SHOWN_RAISED),
        "deeds": await ruling.lately(pool, actor, now_ms(), limit=SHOWN_DEEDS, rule_id=rule_id),
        "deed_text": rule_words.deed_text,
        "may_change": actor.may(Action.RULES),
        "subjects": SUBJECTS,
        "fields": fields,
        "faults": faults,
    }
    return page(request, "rule.html", context, status=UNPROCESSABLE if faults else 200)


async def change(request: web.Request) -> web.Response:
    """Let it say something else."""
    found, form = await _own_rule(request), await form_of(request)
    try:
        await ruling.change(
            request.app[POOL], actor_of(request), found.rule.rule_id, _draft_of(form), now_ms()
        )
    except RefusedError as refusal:
        if refusal.field:
            return await _rule_page(request, found, form, _faults(refusal))
        raise
    return see_other(f"/rules/{found.rule.rule_id}")


async def switch(request: web.Request) -> web.Response:
    """On or off."""
    found, form = await _own_rule(request), await form_of(request)
    enabled = form.get("enabled") == "yes"
    await ruling.switch(request.app[POOL], actor_of(request), found.rule.rule_id, now_ms(), enabled=enabled)
    return see_other(f"/rules/{found.rule.rule_id}")


async def delete(request: web.Request) -> web.Response:
    """Delete it."""
    found = await _own_rule(request)
    await ruling.delete(request.app[POOL], actor_of(request), found.rule.rule_id, now_ms())
    return see_other("/rules")


# --- helpers ------------------------------------------------------------------------------------------------


async def _own_rule(request: web.Request) -> Listed:
    return await ruling.find(request.app[POOL], actor_of(request), int(request.match_info["rule_id"]))


async def _device_of(request: web.Request, text: str) -> DeviceView | None:
    """The company's device of this number; None where none is named, Problem where it is not theirs."""
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else -1
    found = None
    if 0 <= number < 1 << 63:
        found = await find_view(request.app[POOL], session_of(request).company_id, number)
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return found


def _site_of(form: Mapping[str, str]) -> int | None:
    """The site that was chosen; a text that cannot be one is a site that does not exist."""
    text = form.get("site", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else -1 if text else None


async def _form(
    request: web.Request,
    fields: Mapping[str, str],
    *,
    device: DeviceView | None,
    faults: Mapping[str, str] | None = None,
) -> web.Response:
    context = {
        "fields": fields,
        "device": device,
        "faults": faults or {},
        "subjects": SUBJECTS,
        "sites": await ruling.list_sites(request.app[POOL], actor_of(request)),
    }
    return page(request, "rule_new.html", context, status=UNPROCESSABLE if faults else 200)


def _faults(refusal: RefusedError) -> dict[str, str]:
    """Faults by the fields of the form."""
    names = {seconds: minutes for minutes, seconds in _MINUTES.items()}
    return {
        names.get(field, field): gettext(_WORDS[field]) if field in _WORDS else text
        for field, text in faults_of(refusal).items()
    }


def _draft_of(form: Mapping[str, str]) -> Draft:
    """What was typed. A text that is no number becomes one that no rule takes."""
    return Draft(
        name=form.get("name", ""),
        subject=form.get("subject", ""),
        side=form.get("side", ""),
        threshold=_number(form.get("threshold", ""), math.nan),
        hysteresis=_number(form.get("hysteresis", "") or "0", math.nan),
        **{seconds: _seconds(form.get(minutes, "")) for minutes, seconds in _MINUTES.items()},
    )


def _number(text: str, otherwise: float) -> float:
    try:
        return float(text.strip().replace(",", ".").replace("−", "-"))
    except ValueError:
        return otherwise


def _seconds(minutes: str) -> int:
    value = _number(minutes, -1.0)
    return round(value * 60) if math.isfinite(value) and abs(value) < 1e9 else -1


def _fields_of(draft: Draft) -> dict[str, str]:
    """A draft as it stands in the form."""
    is_number = math.isfinite(draft.threshold) and draft.subject in SUBJECTS
    is_state = draft.subject in SUBJECTS and SUBJECTS[draft.subject].is_state
    fields: dict[str, Any] = {
        "name": draft.name,
        "subject": draft.subject,
        "side": draft.side,
        "threshold": rule_words.typed(draft.threshold) if is_number and not is_state else "",
        "hysteresis": rule_words.typed(draft.hysteresis),
    }
    return {
        **fields,
        **{minutes: rule_words.typed(getattr(draft, name) / 60) for minutes, name in _MINUTES.items()},
    }


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/rules", show_rules)
    app.router.add_get("/rules/new", show_new)
    app.router.add_post("/rules/new", make)
    rule = r"/rules/{rule_id:\d{1,15}}"
    app.router.add_get(rule, show_rule)
    app.router.add_post(rule, change)
    app.router.add_post(rule + "/switch", switch)
    app.router.add_post(rule + "/delete", delete)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/rules", show_device_rules)
    app.router.add_post(r"/devices/{device_id:\d{1,19}}/battery", set_battery)
