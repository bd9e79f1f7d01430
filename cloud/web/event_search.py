"""Which events a page or a program asks for: how serious, and which words; and the address that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from cloud.core.device_state import Tone
from cloud.core.language import N_, gettext
from cloud.postgres.event_log import Happened, Place, Sought
from cloud.services import event_log
from cloud.web.problems import Problem, ProblemCode
from cloud.web.sentences import EVENTS, event_facts, event_words

MAX_CHARS: Final = 100


class Severity(StrEnum):
    """How serious events are. Append only: programs rely on them."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


SEVERITIES: Final[Mapping[Severity, tuple[str, Tone]]] = {
    Severity.CRITICAL: (N_("Critical"), Tone.BAD),
    Severity.WARNING: (N_("Warning"), Tone.WARN),
    Severity.INFO: (N_("Information"), Tone.CALM),
}
"""Word and tone of each."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. ``device_id`` None: of all devices."""

    device_id: int | None = None
    severity: Severity | None = None
    text: str = ""

    def sought(self, company_id: int) -> Sought:
        """The same for the database, in the language that is spoken."""
        text = " ".join(self.text.lower().split())
        serious = [str(kind) for kind in EVENTS if severity_of(kind) is not Severity.INFO]
        chosen = [kind for kind in serious if severity_of(kind) is self.severity]
        return Sought(
            company_id,
            self.device_id,
            kinds=chosen or None,
            without=serious if self.severity is Severity.INFO else (),
            text=text,
            named=[str(kind) for kind in EVENTS if text in event_words(kind).word.lower()] if text else (),
        )

    def query(self, **changes: str) -> str:
        """What stands behind the address, with its question mark; "" where there is nothing."""
        named = {"severity": self.severity or "", "q": self.text, **changes}
        told = urlencode({name: value for name, value in named.items() if value})
        return f"?{told}" if told else ""


def severity_of(kind: str) -> Severity:
    """How serious an event is; one that is newer than this portal informs."""
    tone = event_words(kind).tone
    return next((one for one, face in SEVERITIES.items() if face[1] is tone), Severity.INFO)


def wish_of(query: Mapping[str, str], device_id: int | None) -> Wish:
    """What an address asks for. Problem (bad_request) for a severity there is none of."""
    severity = query.get("severity", "")
    if severity and severity not in set(Severity):
        known = ", ".join(Severity)
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext("severity is one of {known}.", known=known))
    return Wish(device_id, Severity(severity) if severity else None, query.get("q", "").strip()[:MAX_CHARS])


def place_of(text: str, name: str) -> Place | None:
    """The place in the log that an address names, None without one. Problem (bad_request)."""
    if not text:
        return None
    try:
        return event_log.place_of(text)
    except ValueError:
        detail = gettext("{name} is not from a page of events: open the events again.", name=name)
        raise Problem(ProblemCode.BAD_REQUEST, detail=detail) from None


def log_facts(events: Sequence[Happened], *, whose: bool) -> list[dict[str, object]]:
    """Events as ``_events.html`` shows them; ``whose``: with the device's name."""
    facts = event_facts([one.row for one in events])
    return [{**fact, "device": one.title if whose else ""} for fact, one in zip(facts, events, strict=True)]
