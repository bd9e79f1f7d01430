"""Who is to be told what: policies, quiet hours and maintenance windows."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from cloud.core.notice import URGENT, Topic

MAX_DELAY_S: Final = 3600
MAX_ESCALATE_S: Final = 86_400
DAY_MIN: Final = 24 * 60


class Scope(StrEnum):
    """What a policy or a window is about. The most specific policy of a device is the one that counts."""

    COMPANY = "company"
    SITE = "site"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is: its number, the epoch of its ownership, its site (0: none), and those this lies in,
    the outermost first.
    """

    device_id: int
    epoch: int
    site_id: int
    above: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Area:
    """Devices that something is about: all of a company, of a site and those in it, or one while owned."""

    scope: Scope = Scope.COMPANY
    scope_id: int = 0
    epoch: int = 0

    def has(self, place: Place) -> bool:
        """Whether the device is one of them."""
        if self.scope is Scope.DEVICE:
            return (self.scope_id, self.epoch) == (place.device_id, place.epoch)
        return self.scope is Scope.COMPANY or self.scope_id in (*place.above, place.site_id)

    def rank(self, place: Place) -> int:
        """How specific it is for a device that it has: the company, sites from the outermost, the device."""
        line = (*place.above, place.site_id)
        match self.scope:
            case Scope.COMPANY:
                return 0
            case Scope.SITE:
                return 1 + line.index(self.scope_id)
        return 1 + len(line)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which only what is urgent is told, as minutes of the day in a time zone; may span midnight."""

    from_min: int
    until_min: int
    zone: str
    lets_urgent: bool = True

    def ends_ms(self, now_ms: int) -> int | None:
        """When the quiet hours of this moment end, unix ms; None outside of them."""
        zone = ZoneInfo(self.zone)
        local = dt.datetime.fromtimestamp(now_ms / 1000, zone)
        minute = local.hour * 60 + local.minute
        spans = self.from_min > self.until_min
        inside = (
            (minute >= self.from_min or minute < self.until_min)
            if spans
            else self.from_min <= minute < self.until_min
        )
        if not inside:
            return None
        day = local.date() + dt.timedelta(days=1 if spans and minute >= self.from_min else 0)
        end = dt.datetime.combine(day, dt.time(self.until_min // 60, self.until_min % 60), zone)
        # A clock that is set back an hour meets the same minute twice: the end lies ahead in any case.
        return max(int(end.timestamp() * 1000), now_ms + 60_000)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is told what, and when. Times in seconds."""

    policy_id: int
    area: Area
    topics: frozenset[Topic]
    created_ms: int
    delay_s: int = 0
    recoveries: bool = True
    quiet: Quiet | None = None
    escalate_after_s: int | None = None

    def quiet_until(self, topic: Topic, now_ms: int) -> int | None:
        """When the quiet hours of this moment end for a topic; None where they do not hold it back."""
        if self.quiet is None or (self.quiet.lets_urgent and topic in URGENT):
            return None
        return self.quiet.ends_ms(now_ms)


@dataclass(frozen=True, slots=True)
class Window:
    """Work on devices: nothing that begins and ends within is told. It always has an end."""

    area: Area
    from_ms: int
    until_ms: int

    def covers(self, place: Place, at_ms: int) -> bool:
        """Whether the device was worked on at this moment."""
        return self.from_ms <= at_ms < self.until_ms and self.area.has(place)


def that_count(policies: tuple[Policy, ...], place: Place, topic: Topic) -> tuple[Policy, ...]:
    """The policies about a topic of a device: those of the most specific area that has any.

    A site's policy replaces the company's and those of the sites around it for the devices of the site,
    whatever its topics are; a device's policy replaces all.
    """
    having = [policy for policy in policies if policy.area.has(place)]
    top = max((policy.area.rank(place) for policy in having), default=0)
    return tuple(policy for policy in having if policy.area.rank(place) == top and topic in policy.topics)
