"""What messages say: plain sentences, the most devices with the least lines."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloud.core.detail_words import NAMES as DETAIL_NAMES
from cloud.core.detail_words import VALUES as DETAIL_VALUES
from cloud.core.detail_words import name_text
from cloud.core.language import N_, gettext, ngettext, pointed
from cloud.core.notice import Topic
from cloud.core.notice_plan import Say
from cloud.core.rule import Side

Item = Mapping[str, Any]
MOST_LINES: Final = 60
FIRST_POLICY: Final = N_("What matters, to the owner")
"""Name of the policy that a company begins with, as it is stored."""

TITLES: Final[Mapping[Topic, tuple[str, str]]] = MappingProxyType(
    {
        Topic.ON_BATTERY: (N_("on battery"), N_("mains back")),
        Topic.LOW_BATTERY: (N_("low battery"), N_("battery no longer low")),
        Topic.REPLACE_BATTERY: (N_("replace the battery"), N_("battery needs no replacing any more")),
        Topic.OVERLOAD: (N_("overload"), N_("overload over")),
        Topic.BYPASS: (N_("on bypass"), N_("bypass over")),
        Topic.FAULT: (N_("internal fault"), N_("fault over")),
        Topic.OFFLINE: (N_("nothing heard from the device"), N_("device heard again")),
        Topic.UPS_LINK: (N_("the agent lost contact with the UPS"), N_("contact with the UPS restored")),
        Topic.SMARTCONNECT: (N_("SmartConnect switched off"), N_("SmartConnect switched on")),
        Topic.RULE: (N_("threshold crossed"), N_("back within the threshold")),
        Topic.SELF_TEST: (N_("self-test"), N_("self-test")),
        Topic.CALIBRATION: (N_("runtime calibration"), N_("runtime calibration")),
        Topic.OUTLET_GROUP: (N_("outlet group switched"), N_("outlet group switched")),
        Topic.SETTING_CHANGED: (N_("setting changed"), N_("setting changed")),
        Topic.FIRMWARE_CHANGED: (N_("firmware changed"), N_("firmware changed")),
        Topic.READINGS_LOST: (N_("readings were lost at the agent"), N_("readings were lost at the agent")),
    }
)
"""What is said when a topic begins, and when it ends."""

NAMES: Final[Mapping[Topic, str]] = MappingProxyType(
    {
        Topic.ON_BATTERY: N_("On battery"),
        Topic.LOW_BATTERY: N_("Low battery"),
        Topic.REPLACE_BATTERY: N_("Replace battery"),
        Topic.OVERLOAD: N_("Overload"),
        Topic.BYPASS: N_("Bypass"),
        Topic.FAULT: N_("Internal fault"),
        Topic.OFFLINE: N_("Device offline"),
        Topic.UPS_LINK: N_("Contact with the UPS lost"),
        Topic.SMARTCONNECT: N_("SmartConnect off"),
        Topic.RULE: N_("Threshold rule"),
        Topic.SELF_TEST: N_("Self-test"),
        Topic.CALIBRATION: N_("Runtime calibration"),
        Topic.OUTLET_GROUP: N_("Outlet group switched"),
        Topic.SETTING_CHANGED: N_("Setting changed"),
        Topic.FIRMWARE_CHANGED: N_("Firmware changed"),
        Topic.READINGS_LOST: N_("Readings lost"),
    }
)
"""What a person ticks in a policy."""


def policy_name(name: str) -> str:
    """What a policy is called: as its people have typed it, the first one in the language that is spoken."""
    return gettext(name) if name == FIRST_POLICY else name


def title(item: Item) -> str:
    """What one item says, without its device."""
    begins, ends = TITLES[Topic(item["topic"])]
    match Say(item["say"]):
        case Say.CLEARED:
            return gettext(ends)
        case Say.WAS:
            return gettext("was: {what}", what=gettext(begins))
        case Say.ESCALATED:
            return gettext("{what}, not acknowledged", what=gettext(begins))
        case _:
            return gettext(begins)


def subject(items: Sequence[Item], site: str) -> str:
    """The line above a message."""
    devices = {item["device"] for item in items}
    titles = {title(item) for item in items}
    where = f"{site}: " if site else ""
    if len(devices) == 1:
        return f"{where}{items[0]['name']}: {', '.join(sorted(titles))}"
    what = next(iter(titles))
    if len(titles) > 1:
        what = ngettext("{count} message", "{count} messages", len(items))
    return where + ngettext("{count} UPS: {what}", "{count} UPSs: {what}", len(devices), what=what)


def text(items: Sequence[Item], site: str, zone: str) -> str:
    """The message itself, times in a time zone; what many devices share is said once."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(title(item), []).append(item)
    lines: list[str] = [gettext("Site: {site}", site=site), ""] if site else []
    left = MOST_LINES
    for name, members in groups.items():
        count = f" ({len(members)})" if len(members) > 1 else ""
        lines.append(f"{name[0].upper()}{name[1:]}{count}")
        shown = members[: max(left, 1)]
        left -= len(shown)
        lines += [f"  - {one['name']}: {_when(one, zone)}" for one in shown]
        if len(members) > len(shown):
            more = ngettext("and {count} more", "and {count} more", len(members) - len(shown))
            lines.append(f"  - {more}")
        lines.append("")
    return "\n".join(lines)


def _when(item: Item, zone: str) -> str:
    began, ended, times = moment(item["began_ms"], zone), item["ended_ms"], item["times"]
    detail = f" ({detail_text(item['topic'], item['detail'])})" if item["detail"] else ""
    more = ""
    if times > 1:
        more = "; " + ngettext("it came and went {count} time", "it came and went {count} times", times)
    if item["say"] == Say.HAPPENED:
        return gettext("at {time}", time=began) + detail + more
    if ended is None:
        return gettext("since {time}", time=began) + detail
    lasted = length(ended - item["began_ms"])
    told = gettext("from {begin} to {end}, {length}", begin=began, end=moment(ended, zone), length=lasted)
    return f"{told}{detail}{more}"


_FIGURES: Final = re.compile(r"(.*): (\S+), (above|below) (\S+)")
"""The detail of a rule's alarm, as :mod:`cloud.services.noticing` writes it down."""
_SWITCHED: Final = re.compile(r"group (\w+), on (True|False)")
"""The detail of an outlet group that was switched."""


def detail_text(topic: str, detail: str) -> str:
    """What an alarm tells beside its topic: it is written down in English, and said as it is read."""
    if topic == Topic.RULE:
        return _figures(detail)
    switched = _SWITCHED.fullmatch(detail)
    if switched is None:
        return ", ".join(_pair(part) for part in detail.split(", "))
    if switched[2] == "True":
        return gettext("group {group}, on True", group=switched[1])
    return gettext("group {group}, on False", group=switched[1])


def _figures(detail: str) -> str:
    found = _FIGURES.fullmatch(detail)
    if found is None:
        return detail
    rule, value, side, level = found[1], pointed(found[2]), found[3], pointed(found[4])
    if side == Side.ABOVE:
        return gettext("{rule}: {value}, above {level}", rule=rule, value=value, level=level)
    return gettext("{rule}: {value}, below {level}", rule=rule, value=value, level=level)


def _pair(part: str) -> str:
    """A value with its name, as an event told them; what is not known stays as it is."""
    for name in DETAIL_NAMES:
        written = name.replace("_", " ")
        if part.startswith(f"{written} "):
            value = part.removeprefix(f"{written} ")
            words = DETAIL_VALUES.get(value, value)
            said = gettext(words)
            return f"{name_text(name)} {value if said == words else said}"
    return part


def moment(at_ms: int, zone: str) -> str:
    """A time as somebody in this zone reads it, with the zone's name."""
    at = dt.datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname()}"


def length(ms: int) -> str:
    """A length of time in its two largest units."""
    minutes, seconds = divmod(max(0, round(ms / 1000)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return gettext("{days} d {hours} h", days=days, hours=hours)
    if hours:
        return gettext("{hours} h {minutes} min", hours=hours, minutes=minutes)
    if minutes:
        return gettext("{minutes} min {seconds} s", minutes=minutes, seconds=seconds)
    return gettext("{seconds} s", seconds=seconds)
