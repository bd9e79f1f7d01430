"""The forms of notifications: from what a person typed to rows, and back."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from cloud.core.language import N_, gettext
from cloud.core.notice import Topic
from cloud.core.notice_policy import Scope
from cloud.notify.webhook import ANSWERED, GONE, REDIRECTED
from cloud.postgres.notice_policies import ChannelRow, PolicyRow, Target, WindowRow
from cloud.postgres.notices import LogLine
from cloud.services.notice_words import policy_name
from cloud.services.noticeboard import Board, invalid
from cloud.web.problems import Problem, ProblemCode

GROUPS: Final = {
    "owner": N_("Owners of the company"),
    "heads": N_("Owners and administrators"),
    "everyone": N_("Everybody in the company"),
}
CHANNELS: Final[Mapping[str, str]] = {"webhook": N_("webhook"), "apprise": "apprise"}
STEPS: Final = {0: "to", 1: "then"}


def number_of(text: str) -> int:
    """A number of a path or a hidden field. Problem not_found: a text that cannot be one names nothing."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(ProblemCode.NOT_FOUND)
    return int(text)


def zone_of(board: Board, account_id: int) -> str:
    """The time zone of somebody's profile."""
    return next((one.time_zone for one in board.readers if one.account_id == account_id), "UTC")


def areas(board: Board) -> list[tuple[str, str]]:
    """What a policy or window may be about: value and name."""
    found = [("company", gettext("All devices of the company"))]
    found += [(f"site:{one.site_id}", gettext("Site {name}", name=one.name)) for one in board.sites]
    found += [
        (f"device:{one.device_id}", f"{one.name or one.model or 'UPS'} ({one.product_id})")
        for one in board.devices
    ]
    return found


def everybody(board: Board) -> list[tuple[str, str]]:
    """Who may be told: field and name."""
    found = [(f"role_{key}", gettext(name)) for key, name in GROUPS.items()]
    found += [(f"account_{one.account_id}", one.email) for one in board.readers]
    found += [
        (f"channel_{one.channel_id}", f"{one.name} ({gettext(CHANNELS[one.kind])})") for one in board.channels
    ]
    return found


def shown_text(channel: ChannelRow) -> str:
    """What is shown of a channel's address."""
    if channel.kind != "apprise":
        return channel.shown
    return gettext("{service} by apprise", service=channel.shown.removesuffix(" by apprise"))


def told_text(board: Board, targets: Sequence[Target]) -> str:
    """Who is told, in a line."""
    names = dict(everybody(board))
    left = gettext("somebody who has left")
    known = [(one.step, names.get(f"{one.kind}_{one.target}", left)) for one in targets]
    first = ", ".join(name for step, name in known if step == 0)
    then = ", ".join(name for step, name in known if step == 1)
    return gettext("{first}; then {then}", first=first, then=then) if then else first


WAYS: Final[Mapping[str, str]] = {
    "email": N_("email to {whom}"),
    "webhook": N_("webhook to {whom}"),
    "apprise": N_("apprise to {whom}"),
}


def sent_text(line: LogLine) -> str:
    """How and to whom something was sent."""
    return gettext(WAYS[line.way], whom=line.to_whom or gettext("somebody who has left"))


def error_text(error: str) -> str:
    """Why something was not sent: in the language that is spoken where we have said it ourselves."""
    status = re.search(r"\b[1-5][0-9]{2}\b", error)
    answer = "" if status is None else error.replace(status[0], "{status}")
    if status is not None and answer in {ANSWERED, REDIRECTED, GONE}:
        return gettext(answer, status=status[0])
    return gettext(error)


def typed_of(row: PolicyRow, targets: Sequence[Target]) -> dict[str, str]:
    """A policy as its form shows it."""
    typed = {
        "name": policy_name(row.name),
        "scope": row.scope if row.scope == Scope.COMPANY else f"{row.scope}:{row.scope_id}",
        "delay_s": str(row.delay_s),
        "quiet_from_min": _clock(row.quiet_from_min),
        "quiet_until_min": _clock(row.quiet_until_min),
        "quiet_zone": row.quiet_zone,
        "escalate_after_s": "" if row.escalate_after_s is None else str(row.escalate_after_s // 60),
        **{f"topic_{topic}": "on" for topic in row.topics},
        **{f"{STEPS[one.step]}_{one.kind}_{one.target}": "on" for one in targets},
    }
    flags = {
        "recoveries": row.recoveries,
        "quiet_lets_urgent": row.quiet_lets_urgent,
        "enabled": row.enabled,
    }
    return typed | {name: "on" for name, on in flags.items() if on}


def policy_of(form: Mapping[str, str], policy_id: int, board: Board) -> tuple[PolicyRow, list[Target]]:
    """The policy that was typed. RefusedError names the field."""
    scope, scope_id = _area(form)
    minutes = _number(form, "escalate_after_s", gettext("Type the minutes until the escalation as a number."))
    row = PolicyRow(
        policy_id=policy_id,
        name=form.get("name", ""),
        scope=scope,
        scope_id=scope_id,
        topics=[topic.value for topic in Topic if f"topic_{topic}" in form],
        delay_s=_number(form, "delay_s", gettext("Type the delay in seconds as a number.")) or 0,
        recoveries="recoveries" in form,
        quiet_from_min=_minute(form, "quiet_from_min"),
        quiet_until_min=_minute(form, "quiet_until_min"),
        quiet_zone=form.get("quiet_zone", "UTC"),
        quiet_lets_urgent="quiet_lets_urgent" in form,
        escalate_after_s=None if minutes is None else 60 * minutes,
        enabled="enabled" in form,
    )
    known = [name for name, _ in everybody(board)]
    targets = [
        Target(step, *name.split("_", 1))
        for step, prefix in STEPS.items()
        for name in known
        if f"{prefix}_{name}" in form
    ]
    return row, targets


HOUR_MS: Final = 3_600_000
MUTES: Final[Mapping[str, tuple[int, str]]] = {
    "1h": (HOUR_MS, N_("1 hour")),
    "8h": (8 * HOUR_MS, N_("8 hours")),
    "1d": (24 * HOUR_MS, N_("1 day")),
    "7d": (168 * HOUR_MS, N_("7 days")),
}
"""For how long a device can be muted by one button: milliseconds, words."""


def window_of(form: Mapping[str, str], zone: str, now_ms: int) -> WindowRow:
    """The window that was typed, its times in a time zone. RefusedError names the field."""
    scope, scope_id = _area(form)
    if form.get("mute") in MUTES:
        until_ms = now_ms + MUTES[form["mute"]][0]
        reason = form.get("reason", "").strip() or gettext("muted for a while")
        return WindowRow(0, scope, scope_id, 0, now_ms, until_ms, reason)
    begins = _moment(form, "from", zone) if form.get("from") else now_ms
    return WindowRow(0, scope, scope_id, 0, begins, _moment(form, "until", zone), form.get("reason", ""))


def _area(form: Mapping[str, str]) -> tuple[str, int]:
    kind, _, number = form.get("scope", Scope.COMPANY).partition(":")
    if kind == Scope.COMPANY:
        return kind, 0
    if kind not in {Scope.SITE, Scope.DEVICE} or not number.isascii() or not number.isdigit():
        raise invalid("scope", gettext("Choose what it is about."))
    if int(number) >= 1 << 63:
        raise invalid("scope", gettext("Choose what it is about."))
    return kind, int(number)


def _number(form: Mapping[str, str], field: str, text: str) -> int | None:
    typed = form.get(field, "").strip()
    if not typed:
        return None
    if not typed.isascii() or not typed.isdigit() or len(typed) > 6:
        raise invalid(field, text)
    return int(typed)


def _minute(form: Mapping[str, str], field: str) -> int | None:
    typed = form.get(field, "").strip()
    if not typed:
        return None
    try:
        at = dt.time.fromisoformat(typed)
    except ValueError:
        raise invalid(field, gettext("Type a time of day as 22:00.")) from None
    return at.hour * 60 + at.minute


def _clock(minute: int | None) -> str:
    return "" if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _moment(form: Mapping[str, str], field: str, zone: str) -> int:
    try:
        local = dt.datetime.fromisoformat(form.get(field, ""))
        return int(local.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise invalid(field, gettext("Type a date and a time as 2030-01-31T18:00.")) from None
