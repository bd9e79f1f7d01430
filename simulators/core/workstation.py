"""What a person types at Building Operation WorkStation, what it answers, and its two versions' words.

The document that names both versions, 1.8 and 1.9, gives them one menu and one wording; so they differ here
in the version that is shown and told, and in nothing that was made up. Where it has two words for one thing
("system database", "site database"), both are understood.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

VERSIONS: Final = ("1.8", "1.9")
KINDS: Final = {"enterprise_server": "Enterprise Server", "standalone": "SmartStruxure server device"}


class Task(StrEnum):
    """What can be done at a WorkStation."""

    REGISTER_NOW = "register now"
    REGISTER_OFFLINE = "register offline"
    ASSOCIATE_OFFLINE = "associate offline"
    ENTER_CODE = "enter registration code"
    SHOW = "show registration"
    ATTACH = "attach"
    DETACH = "detach"
    DELETE = "delete database"
    ACCEPT = "accept"
    DECLINE = "decline"
    SERVERS = "servers"
    LOG_ON = "log on"
    STOP = "stop"
    START = "start"
    DOCTOR = "doctor"
    WAIT = "wait"
    HELP = "help"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu: the task, what follows it, what it does."""

    task: Task
    what: str
    explanation: str


MENU: Final[tuple[Entry, ...]] = (
    Entry(Task.REGISTER_NOW, "", "open the registration portal for this server's System ID"),
    Entry(Task.REGISTER_OFFLINE, "[new]", "show the request that the portal makes a registration code for"),
    Entry(Task.ASSOCIATE_OFFLINE, "[new]", "likewise, for a registration that this new System ID takes over"),
    Entry(Task.ENTER_CODE, "CODE", "enter the registration code that the portal has made"),
    Entry(Task.SHOW, "", "what this server is registered with, and where that comes from"),
    Entry(Task.ATTACH, "SERVER", "attach a stand-alone server to the Enterprise Server"),
    Entry(Task.DETACH, "SERVER", "let it stand alone again"),
    Entry(Task.DELETE, "", "delete the system database: this server gets a new System ID"),
    Entry(Task.ACCEPT, "NAME", "let somebody who typed this System ID at the portal have it"),
    Entry(Task.DECLINE, "NAME", "do not"),
    Entry(Task.SERVERS, "", "the servers of this site"),
    Entry(Task.LOG_ON, "SERVER", "work with another server"),
    Entry(Task.STOP, "SERVER", "switch a server off"),
    Entry(Task.START, "SERVER", "switch it on again"),
    Entry(Task.DOCTOR, "", "look at each hop from this server"),
    Entry(Task.WAIT, "TEXT", "wait until show registration says this, half a minute at most"),
    Entry(Task.HELP, "", "this menu"),
    Entry(Task.QUIT, "", "stop all servers and leave"),
)

_NEEDS: Final = {entry.task for entry in MENU if entry.what and not entry.what.startswith("[")}
_ALIASES: Final[dict[str, Task]] = {
    **{entry.task.value: entry.task for entry in MENU},
    "register online": Task.REGISTER_NOW,
    "offline registration": Task.REGISTER_OFFLINE,
    "associate": Task.ASSOCIATE_OFFLINE,
    "enter code": Task.ENTER_CODE,
    "delete system database": Task.DELETE,
    "delete the system database": Task.DELETE,
    "delete site database": Task.DELETE,
    "delete the site database": Task.DELETE,
    "show": Task.SHOW,
    "logon": Task.LOG_ON,
    "exit": Task.QUIT,
}


@dataclass(frozen=True, slots=True)
class Order:
    """One line that was understood. ``must_fail``: a script expects it to be refused."""

    task: Task
    words: str = ""
    must_fail: bool = False


def parse(line: str) -> Order | None:
    """What a line means; None for an empty one or a remark (#). ValueError says what is possible.

    A number is the line of the menu; ``!`` in front says that the order is expected to be refused.
    """
    text = re.sub(r"\s+", " ", line.strip())
    if not text or text.startswith("#"):
        return None
    must_fail = text.startswith("!")
    text = text.removeprefix("!").strip()
    first, _, rest = text.partition(" ")
    if first.isascii() and first.isdigit() and 1 <= int(first) <= len(MENU):
        return _checked(MENU[int(first) - 1].task, rest, must_fail=must_fail)
    for name in sorted(_ALIASES, key=len, reverse=True):
        if text.lower() == name or text.lower().startswith(name + " "):
            return _checked(_ALIASES[name], text[len(name) :].strip(), must_fail=must_fail)
    raise ValueError(f"{first!r} is nothing that can be done here; help shows the menu")


def _checked(task: Task, words: str, *, must_fail: bool) -> Order:
    if task in _NEEDS and not words:
        what = next(entry.what for entry in MENU if entry.task is task)
        raise ValueError(f"{task.value} {what}: the {what.lower()} is missing")
    return Order(task, words, must_fail)


def menu_text(version: str) -> str:
    """The menu of this version, a numbered line each."""
    width = max(len(f"{entry.task.value} {entry.what}") for entry in MENU)
    lines = [f"Building Operation WorkStation {version}", ""]
    for number, entry in enumerate(MENU, 1):
        name = f"{entry.task.value} {entry.what}".strip()
        lines.append(f"{number:3}  {name:{width}}  {entry.explanation}")
    return "\n".join(lines)


def registration_text(shown: Mapping[str, Any]) -> str:
    """What a server shows of its registration, as `smartconnect-agent system show --json` says it."""
    registration = shown["registration"]
    rows = [
        ("Server", f"{shown['name']} ({KINDS[shown['kind']]}, Building Operation {shown['version']})"),
        ("System ID", shown["written"]),
        ("Registration", shown["stand"]),
        ("From", " ".join(part for part in (shown["from"], shown["from_id"]) if part)),
    ]
    if registration is not None:
        rows += [
            ("Number", registration["number"]),
            ("Integrator", registration["integrator"]),
            ("End-user", registration["end_user"]),
        ]
        rows += [(name.replace("_", " ").capitalize(), text) for name, text in registration["fields"].items()]
    if shown["own"] is not None:
        rows.append(("Its own", shown["own"]["number"]))
    if shown["attached_to"] is not None:
        rows.append(("Attached to", f"{shown['attached_to']['name']}, link: {shown['link']['state']}"))
    rows += [
        ("Attached", f"{one['name']}, {'connected' if one['connected'] else 'not connected'}")
        for one in shown["attached"]
    ]
    rows += [
        ("Stands alone", shown["left"] or ""),
        ("Asked for", shown["request_open"] or ""),
        ("Cloud", shown["cloud"]),
    ]
    rows += [("Waits", f"{one['name']}: {one['company']}, {one['slot']}") for one in shown["waiting"]]
    rows += [("Notice", one["text"]) for one in shown["notices"]]
    rows += [("Earlier ID", one) for one in shown["previous"]]
    return "\n".join(f"{name:14} {_printable(text)}" for name, text in rows if text)


def _printable(text: str) -> str:
    """What others have written, without anything that a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
