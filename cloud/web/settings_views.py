"""The settings of a device: both sides live, a form to change them, and the two steps after a claim.

A form says what it showed (``was_…``): only what somebody has changed in it is wanted, so that a page that
was open for an hour does not undo what happened meanwhile.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.language import N_, gettext
from cloud.services import profile, settings
from cloud.services.naming import UnknownDeviceError
from cloud.services.settings import SettingsRefusedError, SettingsView
from cloud.web import sse
from cloud.web.device_views import device_id_of_path, own_device
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import form_of
from cloud.web.responses import page, see_other
from cloud.web.setting_words import facts_of, fault_text
from cloud.web.state import COMMANDER, HUB, KIT, PAGES, POOL, actor_of, now_ms, session_of
from protocol.settings import BY_SETTING, Home, Kind

BEAT_S: Final = 2.0
WAS: Final = "was_"
ON: Final = "on"
SENSITIVITY: Final = "device_sensitivity_s"
PRESETS: Final = {"0": N_("At once"), "10": N_("After 10 seconds"), "60": N_("After 60 seconds")}
OWN: Final = "own"
PROFILE: Final = ("name", "description", "time_zone", "notifications")
SECTIONS: Final = (
    (N_("UPS Profile"), PROFILE),
    (N_("Device Sensitivity"), (SENSITIVITY,)),
    (N_("Reporting"), ("report_interval_s",)),
    (N_("In the UPS"), tuple(one for one in BY_SETTING if BY_SETTING[one].home is Home.REGISTER)),
)
STEPS: Final = (N_("UPS Profile"), N_("Device Sensitivity"), N_("Finish"))
PATH: Final = r"/devices/{device_id:\d{1,19}}"


async def _look(request: web.Request) -> SettingsView:
    try:
        return await settings.look(request.app[POOL], actor_of(request), device_id_of_path(request))
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None


# --- the page -----------------------------------------------------------------------------------------------


async def show_settings(request: web.Request) -> web.Response:
    """All settings of a device."""
    return await _settings_page(request, await _look(request))


async def _settings_page(
    request: web.Request,
    found: SettingsView,
    faults: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
) -> web.Response:
    shown = {one.setting.name: field_text(one.shown) for one in found.settings}
    context = {
        **facts_of(found),
        "view": await own_device(request),
        "sections": [
            (gettext(title), [BY_SETTING[name] for name in names if name in shown])
            for title, names in SECTIONS
        ],
        "shown": shown,
        "typed": {**shown, **(typed or {})},
        "faults": faults or {},
        "time_zones": sorted(profile.time_zones()),
        "presets": {value: gettext(words) for value, words in PRESETS.items()},
        "may": actor_of(request).may(Action.SETTINGS),
        "saved": "saved" in request.query,
    }
    return page(request, "settings.html", context, status=422 if faults else 200)


async def save_settings(request: web.Request) -> web.Response:
    """Take what was changed in the form."""
    form = await form_of(request)
    faults = await _save(request, form)
    if faults:
        return await _settings_page(request, await _look(request), faults, _typed(form))
    return see_other(f"/devices/{device_id_of_path(request)}/settings?saved=yes")


async def _save(request: web.Request, form: Mapping[str, str]) -> dict[str, str]:
    """Change what differs from what the form showed; field → what is wrong."""
    wanted, faults = read_form(form)
    if faults:
        return faults
    try:
        await settings.save(
            request.app[POOL],
            request.app[COMMANDER].signer,
            actor_of(request),
            device_id_of_path(request),
            wanted,
            now_ms(),
        )
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    except SettingsRefusedError as refused:
        return {name: fault_text(fault) for name, fault in refused.faults.items()}
    return {}


def field_text(value: object) -> str:
    """A value as a form's field has it."""
    if isinstance(value, bool):
        return ON if value else ""
    return "" if value is None else str(value)


def _typed(form: Mapping[str, str]) -> dict[str, str]:
    """What was entered in each field that the form had."""
    names = [key.removeprefix(WAS) for key in form if key.startswith(WAS)]
    typed = {name: form.get(name, "") for name in names if name in BY_SETTING}
    if typed.get(SENSITIVITY) == OWN:
        typed[SENSITIVITY] = form.get("own_s", "").strip()
    return typed


def read_form(form: Mapping[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    """What is wanted, and field → what cannot be read."""
    wanted: dict[str, object] = {}
    faults: dict[str, str] = {}
    for name, text in _typed(form).items():
        if text == form[WAS + name]:
            continue
        match BY_SETTING[name].kind:
            case Kind.SWITCH:
                wanted[name] = text == ON
            case Kind.NUMBER:
                digits = text.strip()
                if digits.isascii() and digits.isdigit() and len(digits) <= 9:
                    wanted[name] = int(digits)
                else:
                    label = gettext(BY_SETTING[name].label)
                    faults[name] = gettext("{label} is a whole number.", label=label)
            case Kind.TEXT | Kind.CHOICE:
                wanted[name] = text
    return wanted, faults


async def stream_settings(request: web.Request) -> web.StreamResponse:
    """How the settings stand, whenever that changes."""
    view, session = await own_device(request), session_of(request)
    with request.app[HUB].watch(view.device_id, session) as subscription:
        async with sse.EventStream(request) as stream:
            shown = ""
            while not subscription.closed:
                try:
                    found = await _look(request)
                except Problem:
                    await stream.send("", "gone")
                    break
                text = request.app[PAGES].render("_settings.html", facts_of(found))
                if text == shown:
                    await stream.send("", "alive")
                else:
                    shown = text
                    await stream.send(text)
                while await subscription.next(BEAT_S) is None and not subscription.closed:
                    await stream.beat()
            if subscription.revoked:
                await stream.send("", "gone")
        return stream.response


# --- the steps after a claim --------------------------------------------------------------------------------


async def show_profile(request: web.Request) -> web.Response:
    """First step: the UPS Profile. Where nobody has said, the UPS is where its owner is."""
    found = await _look(request)
    typed = {}
    if found.of("time_zone").last is None:
        person = await profile.read(request.app[KIT], actor_of(request).account_id)
        typed = {"time_zone": person.time_zone}
    return await _step(request, found, 0, typed=typed)


async def save_profile(request: web.Request) -> web.Response:
    """Take the UPS Profile."""
    return await _take_step(request, 0, "setup/sensitivity")


async def show_sensitivity(request: web.Request) -> web.Response:
    """Second step: Device Sensitivity."""
    return await _step(request, await _look(request), 1)


async def save_sensitivity(request: web.Request) -> web.Response:
    """Take the Device Sensitivity."""
    return await _take_step(request, 1, "setup/finish")


async def show_finish(request: web.Request) -> web.Response:
    """Last step: what was set."""
    return await _step(request, await _look(request), 2)


async def _take_step(request: web.Request, number: int, then: str) -> web.Response:
    form = await form_of(request)
    faults = await _save(request, form)
    if faults:
        return await _step(request, await _look(request), number, faults, _typed(form))
    return see_other(f"/devices/{device_id_of_path(request)}/{then}")


async def _step(
    request: web.Request,
    found: SettingsView,
    number: int,
    faults: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
) -> web.Response:
    shown = {one.setting.name: field_text(one.shown) for one in found.settings}
    context = {
        **facts_of(found),
        "view": await own_device(request),
        "step": number,
        "steps": [gettext(title) for title in STEPS],
        "profile": PROFILE,
        "settings": BY_SETTING,
        "shown": shown,
        "typed": {**shown, **(typed or {})},
        "faults": faults or {},
        "time_zones": sorted(profile.time_zones()),
        "presets": {value: gettext(words) for value, words in PRESETS.items()},
        "guess_zone": number == 0 and found.of("time_zone").last is None,
    }
    return page(request, "setup.html", context, status=422 if faults else 200)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get(f"{PATH}/settings", show_settings)
    app.router.add_post(f"{PATH}/settings", save_settings)
    app.router.add_get(f"{PATH}/settings/live", stream_settings, allow_head=False)
    app.router.add_get(f"{PATH}/setup", show_profile)
    app.router.add_post(f"{PATH}/setup", save_profile)
    app.router.add_get(f"{PATH}/setup/sensitivity", show_sensitivity)
    app.router.add_post(f"{PATH}/setup/sensitivity", save_sensitivity)
    app.router.add_get(f"{PATH}/setup/finish", show_finish)
