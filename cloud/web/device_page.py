"""The page of one device: its state first, then its past, control, battery, outages, settings, ownership."""

from dataclasses import replace

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.device_state import DeviceView
from cloud.core.language import gettext
from cloud.postgres import commands, devices
from cloud.services import commanding, naming, noticeboard, system_looking
from cloud.services.naming import ProfileError, UnknownDeviceError
from cloud.web import alarm_views, battery_facts, chart_facts, device_live, outage_facts, owner_facts
from cloud.web.chart_facts import ChartFacts
from cloud.web.command_facts import panel_facts
from cloud.web.device_views import own_device
from cloud.web.notice_forms import MUTES
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page, see_other
from cloud.web.sentences import event_facts, summary_of
from cloud.web.setting_words import told_settings
from cloud.web.state import POOL, actor_of, now_ms


async def show_device(request: web.Request) -> web.Response:
    """The page of one device."""
    return await _device_page(request, await own_device(request))


async def _device_page(
    request: web.Request, view: DeviceView, fault: ProfileError | None = None, typed: DeviceView | None = None
) -> web.Response:
    at_ms, pool = now_ms(), request.app[POOL]
    shown = await device_live.shown(request, view)
    try:
        orders = await commanding.history(pool, actor_of(request), view.device_id, commands.SHOWN)
    except UnknownDeviceError:  # given away a moment ago
        raise Problem(ProblemCode.NOT_FOUND) from None
    events = await devices.list_events(pool, view.device_id, view.epoch, devices.SHOWN_EVENTS)
    return page(
        request,
        "device.html",
        {
            **panel_facts(view, actor_of(request), orders, at_ms),
            **await chart_facts.facts(request, view),
            **await battery_facts.facts(request, view),
            "summary": summary_of(view, at_ms),
            "owner": await owner_facts.look(request, view.device_id),
            **await alarm_views.facts(request, view.device_id),
            "mutes": await noticeboard.mutes(pool, actor_of(request), view.device_id, view.epoch, at_ms),
            "mute_times": {key: gettext(words) for key, (_, words) in MUTES.items()},
            "events": event_facts(events),
            "outages": await outage_facts.newest(request, view),
            "told_settings": told_settings(view.settings),
            "registered": await system_looking.site_of_ups(pool, actor_of(request), view.device_id),
            "shown": shown,
            "typed": typed or view,
            "fault": fault,
            "faults": {},
            "may_name": actor_of(request).may(Action.NAME),
        },
        status=200 if fault is None else 422,
        squeeze=True,
    )


async def save_profile(request: web.Request) -> web.Response:
    """Take the UPS Profile."""
    view, form = await own_device(request), await request.post()
    name, description = str(form.get("name", "")), str(form.get("description", ""))
    try:
        await naming.save_profile(
            request.app[POOL],
            actor_of(request),
            view.device_id,
            name=name,
            description=description,
            now_ms=now_ms(),
        )
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    except ProfileError as fault:
        return await _device_page(request, view, fault, replace(view, name=name, description=description))
    return see_other(f"/devices/{view.device_id}")


async def show_table(request: web.Request) -> web.Response:
    """The tables of some charts, alone."""
    view = await own_device(request)
    window, wanted = await chart_facts.window_of(request, view), chart_facts.picked(request)
    tables = await chart_facts.tables_of(request, view, window, wanted)
    shown = [ChartFacts(words, shown=True, lines=tables[words.key]) for words in wanted]
    return page(request, "_table.html", {"charts": shown, "long": chart_facts.is_long(window)})


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get(r"/devices/{device_id:\d{1,19}}", show_device)
    app.router.add_post(r"/devices/{device_id:\d{1,19}}/profile", save_profile)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/table", show_table)
