"""*My Account → View Profile* and *Forgot your password?*"""

from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.language import LANGUAGES, N_, gettext
from cloud.core.profile import ADDRESS
from cloud.core.refusal import RefusedError
from cloud.services import password_reset, profile, second_factor
from cloud.web import robot_form
from cloud.web.middleware import public
from cloud.web.refusals import FORM, faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.safety_views import confirm_first, is_fresh
from cloud.web.state import KIT, now_ms, session_of
from cloud.web.tables import locations, said

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
SAVED: Final = {
    "profile": N_("Your profile was saved."),
    "password": N_("Your password was changed. All other log-ins have ended."),
    "email": N_("Your email address was changed."),
}


async def show_profile(request: web.Request) -> web.Response:
    """*My Profile*."""
    return await _profile(request, {}, {})


async def _profile(request: web.Request, typed: dict[str, str], faults: dict[str, str]) -> web.Response:
    kit, session = request.app[KIT], session_of(request)
    found = await profile.read(kit, session.account_id)
    context: dict[str, Any] = {
        "profile": found,
        "typed": typed,
        "faults": faults,
        "locations": locations(),
        "address": said(ADDRESS),
        "languages": LANGUAGES,
        "time_zones": sorted(profile.time_zones()),
        "two_factor": await second_factor.status(kit, session.account_id),
        "saved": gettext(SAVED.get(request.query.get("saved", ""), "")),
    }
    return page(request, "profile.html", context, status=UNPROCESSABLE if faults else 200)


async def save_profile(request: web.Request) -> web.Response:
    """Name, language, time zone, address details, promotional materials."""
    form = await form_of(request)
    if form.get("language", "en") not in LANGUAGES:
        return await _profile(request, form, {"language": gettext("Please choose a language.")})
    try:
        await profile.change(
            request.app[KIT],
            session_of(request),
            form,
            now_ms(),
            promotions={"yes": True, "no": False}.get(form.get("promotions", "")),
        )
    except RefusedError as refusal:
        return await _profile(request, form, faults_of(refusal))
    return see_other("/account?saved=profile")


# --- password -----------------------------------------------------------------------------------------------


async def show_password(request: web.Request) -> web.Response:
    """Change the password."""
    return page(request, "password.html", {"faults": {}})


async def save_password(request: web.Request) -> web.Response:
    """The new one, proved by the old one."""
    form = await form_of(request)
    try:
        await profile.change_password(
            request.app[KIT], session_of(request), form.get("current", ""), form.get("password", ""), now_ms()
        )
    except RefusedError as refusal:
        faults = faults_of(refusal)
        if refusal.code == "password_wrong":
            faults = {"current": str(refusal)}
        return page(request, "password.html", {"faults": faults}, status=UNPROCESSABLE)
    return see_other("/account?saved=password")


# --- e-mail address -----------------------------------------------------------------------------------------


async def show_email(request: web.Request) -> web.Response:
    """Change the e-mail address."""
    if not is_fresh(request):
        return confirm_first("/account/email")
    return page(request, "email.html", {"faults": {}, "typed": ""})


async def ask_email(request: web.Request) -> web.Response:
    """Mail a code to the new address."""
    form = await form_of(request)
    if not is_fresh(request):
        return confirm_first("/account/email")
    email = form.get("email", "")
    try:
        await profile.ask_email_change(
            request.app[KIT], session_of(request), email, fresh=True, now_ms=now_ms()
        )
    except RefusedError as refusal:
        context = {"faults": faults_of(refusal), "typed": email}
        return page(request, "email.html", context, status=UNPROCESSABLE)
    return see_other("/account/email/verify")


async def show_email_code(request: web.Request) -> web.Response:
    """Ask for the code."""
    return page(request, "email_verify.html", {"faults": {}})


async def confirm_email(request: web.Request) -> web.Response:
    """Check the code and change the address."""
    form = await form_of(request)
    try:
        await profile.confirm_email_change(
            request.app[KIT], session_of(request), form.get("code", ""), now_ms()
        )
    except RefusedError as refusal:
        return page(request, "email_verify.html", {"faults": faults_of(refusal)}, status=UNPROCESSABLE)
    return see_other("/account?saved=email")


# --- Forgot your password? ----------------------------------------------------------------------------------


@public
async def show_forgotten(request: web.Request) -> web.Response:
    """The address, and the robot check."""
    return page(
        request, "reset.html", {"faults": {}, "email": "", "sent": False, **robot_form.context(request)}
    )


@public
async def ask_reset(request: web.Request) -> web.Response:
    """Mail a link; the same answer for known and unknown addresses."""
    form, kit, at_ms = await form_of(request), request.app[KIT], now_ms()
    email = form.get("email", "")
    robot = partial(robot_form.check, request, form, at_ms)
    try:
        await password_reset.ask(kit, email, check_robot=robot, now_ms=at_ms)
    except RefusedError as refusal:
        carried = robot_form.context(request, form, refusal)
        context = {"faults": faults_of(refusal), "email": email, "sent": False, **carried}
        return page(request, "reset.html", context, status=UNPROCESSABLE)
    return page(request, "reset.html", {"faults": {}, "email": email, "sent": True})


def secret_of(link: str) -> str:
    """What a person pasted, or the page has read: the part behind the # of a mailed link."""
    return link.strip().rpartition("#")[2]


@public
async def show_link(request: web.Request) -> web.Response:
    """Where the mailed link leads. Its secret is behind the #, which only the browser knows."""
    return page(request, "reset_link.html", {"faults": {}})


@public
async def open_link(request: web.Request) -> web.Response:
    """The form for the new password."""
    token = secret_of((await form_of(request)).get("link", ""))
    try:
        email = await password_reset.look(request.app[KIT], token, now_ms())
    except RefusedError as refusal:
        return page(request, "reset_link.html", {"faults": {FORM: str(refusal)}}, status=UNPROCESSABLE)
    return page(request, "reset_new.html", {"faults": {}, "email": email, "token": token})


@public
async def reset(request: web.Request) -> web.Response:
    """Set the new password."""
    form, kit = await form_of(request), request.app[KIT]
    token = form.get("token", "")
    try:
        email = await password_reset.look(kit, token, now_ms())
    except RefusedError as refusal:
        return page(request, "reset_link.html", {"faults": {FORM: str(refusal)}}, status=UNPROCESSABLE)
    try:
        await password_reset.reset(kit, token, form.get("password", ""), now_ms())
    except RefusedError as refusal:
        context = {"faults": faults_of(refusal), "email": email, "token": token}
        return page(request, "reset_new.html", context, status=UNPROCESSABLE)
    return see_other("/reset/done")


@public
async def show_reset_done(request: web.Request) -> web.Response:
    """It is done."""
    return page(request, "reset_done.html")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/account", show_profile)
    app.router.add_post("/account", save_profile)
    app.router.add_get("/account/password", show_password)
    app.router.add_post("/account/password", save_password)
    app.router.add_get("/account/email", show_email)
    app.router.add_post("/account/email", ask_email)
    app.router.add_get("/account/email/verify", show_email_code)
    app.router.add_post("/account/email/verify", confirm_email)
    app.router.add_get("/reset", show_forgotten)
    app.router.add_post("/reset", ask_reset)
    app.router.add_get("/reset/new", show_link)
    app.router.add_post("/reset/new/open", open_link)
    app.router.add_post("/reset/new", reset)
    app.router.add_get("/reset/done", show_reset_done)
