"""What messages say: plain sentences, the most devices with the least lines."""

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloud.core.notice import Topic
from cloud.core.notice_plan import Say

Item = Mapping[str, Any]
MOST_LINES: Final = 60

TITLES: Final[Mapping[Topic, tuple[str, str]]] = MappingProxyType(
    {
        Topic.ON_BATTERY: ("on battery", "mains back"),
        Topic.LOW_BATTERY: ("low battery", "battery no longer low"),
        Topic.REPLACE_BATTERY: ("replace the battery", "battery needs no replacing any more"),
        Topic.OVERLOAD: ("overload", "overload over"),
        Topic.BYPASS: ("on bypass", "bypass over"),
        Topic.FAULT: ("internal fault", "fault over"),
        Topic.OFFLINE: ("nothing heard from the device", "device heard again"),
        Topic.UPS_LINK: ("the agent lost contact with the UPS", "contact with the UPS restored"),
        Topic.SMARTCONNECT: ("SmartConnect switched off", "SmartConnect switched on"),
        Topic.RULE: ("threshold crossed", "back within the threshold"),
        Topic.SELF_TEST: ("self-test", "self-test"),
        Topic.CALIBRATION: ("runtime calibration", "runtime calibration"),
        Topic.OUTLET_GROUP: ("outlet group switched", "outlet group switched"),
        Topic.SETTING_CHANGED: ("setting changed", "setting changed"),
        Topic.FIRMWARE_CHANGED: ("firmware changed", "firmware changed"),
        Topic.READINGS_LOST: ("readings were lost at the agent", "readings were lost at the agent"),
    }
)
"""What is said when a topic begins, and when it ends."""

NAMES: Final[Mapping[Topic, str]] = MappingProxyType(
    {
        Topic.ON_BATTERY: "On battery",
        Topic.LOW_BATTERY: "Low battery",
        Topic.REPLACE_BATTERY: "Replace battery",
        Topic.OVERLOAD: "Overload",
        Topic.BYPASS: "Bypass",
        Topic.FAULT: "Internal fault",
        Topic.OFFLINE: "Device offline",
        Topic.UPS_LINK: "Contact with the UPS lost",
        Topic.SMARTCONNECT: "SmartConnect off",
        Topic.RULE: "Threshold rule",
        Topic.SELF_TEST: "Self-test",
        Topic.CALIBRATION: "Runtime calibration",
        Topic.OUTLET_GROUP: "Outlet group switched",
        Topic.SETTING_CHANGED: "Setting changed",
        Topic.FIRMWARE_CHANGED: "Firmware changed",
        Topic.READINGS_LOST: "Readings lost",
    }
)
"""What a person ticks in a policy."""


def title(item: Item) -> str:
    """What one item says, without its device."""
    begins, ends = TITLES[Topic(item["topic"])]
    match Say(item["say"]):
        case Say.CLEARED:
            return ends
        case Say.WAS:
            return f"was: {begins}"
        case Say.ESCALATED:
            return f"{begins}, not acknowledged"
        case _:
            return begins


def subject(items: Sequence[Item], site: str) -> str:
    """The line above a message."""
    devices = {item["device"] for item in items}
    titles = {title(item) for item in items}
    where = f"{site}: " if site else ""
    if len(devices) == 1:
        return f"{where}{items[0]['name']}: {', '.join(sorted(titles))}"
    what = next(iter(titles)) if len(titles) == 1 else f"{len(items)} messages"
    return f"{where}{len(devices)} UPSs: {what}"


def text(items: Sequence[Item], site: str, zone: str) -> str:
    """The message itself, times in a time zone; what many devices share is said once."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(title(item), []).append(item)
    lines: list[str] = [f"Site: {site}", ""] if site else []
    left = MOST_LINES
    for name, members in groups.items():
        count = f" ({len(members)})" if len(members) > 1 else ""
        lines.append(f"{name[0].upper()}{name[1:]}{count}")
        shown = members[: max(left, 1)]
        left -= len(shown)
        lines += [f"  - {one['name']}: {_when(one, zone)}" for one in shown]
        if len(members) > len(shown):
            lines.append(f"  - and {len(members) - len(shown)} more")
        lines.append("")
    return "\n".join(lines)


def _when(item: Item, zone: str) -> str:
    began, ended, times = item["began_ms"], item["ended_ms"], item["times"]
    detail = f" ({item['detail']})" if item["detail"] else ""
    more = f"; it came and went {times} times" if times > 1 else ""
    if item["say"] == Say.HAPPENED:
        return f"at {moment(began, zone)}{detail}{more}"
    if ended is None:
        return f"since {moment(began, zone)}{detail}"
    return f"from {moment(began, zone)} to {moment(ended, zone)}, {length(ended - began)}{detail}{more}"


def moment(at_ms: int, zone: str) -> str:
    """A time as somebody in this zone reads it, with the zone's name."""
    at = dt.datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname()}"


def length(ms: int) -> str:
    """A length of time in its two largest units."""
    seconds = max(0, round(ms / 1000))
    for size, large, small, part in ((86400, "d", "h", 3600), (3600, "h", "min", 60), (60, "min", "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {large} {seconds % size // part} {small}"
    return f"{seconds} s"
