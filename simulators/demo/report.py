"""What the demo tells people: addresses, log-ins, labels, and lines to paste."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulators import label
from simulators.demo.layout import Account, Unit

RULE: Final = "─" * 100


@dataclass(frozen=True, slots=True)
class UnitReport:
    """One UPS as it is shown."""

    unit: Unit
    place: str
    commands: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown once the demo runs."""

    portal_url: str
    gateway: str
    notes: Sequence[str]
    accounts: Sequence[Account]
    units: Sequence[UnitReport]


def render(report: Report, encoding: str | None) -> str:
    """The report as text; the QR codes need an encoding that has block characters."""
    blocks = (encoding or "").lower().replace("-", "") == "utf8"
    rule = RULE if blocks else "-" * len(RULE)
    lines = [rule, f"Portal   {report.portal_url}", f"Gateway  {report.gateway} (MQTT over TLS)"]
    lines += [f"Log-in   {account.email}  password {account.password}" for account in report.accounts]
    lines += ["", *report.notes, ""]
    for number, item in enumerate(report.units, 1):
        lines += _unit(number, item, report.portal_url, blocks=blocks)
    lines += [
        "Try this: log in, choose Add device, Product Codes, and type a label's codes.",
        "Then pull the mains of that UPS and watch its page. The other log-in cannot have a device you own.",
        "Ctrl-C stops everything; the next `make demo` keeps it all; `make demo-reset` forgets it.",
        rule,
    ]
    return "\n".join(lines) + "\n"


def _unit(number: int, item: UnitReport, portal_url: str, *, blocks: bool) -> list[str]:
    unit = item.unit
    state = "on" if unit.smartconnect else "off: a claim waits until somebody enables it at the UPS"
    head = [
        f"UPS {number}  {unit.name}, {item.place}",
        f"SmartConnect is {state}",
    ]
    commands = [f"  {what:<16} {shlex.join(words)}" for what, words in item.commands]
    picture = label.qr_text(portal_url, *unit.codes).splitlines() if blocks else []
    beside = ["", *head, "", "Product ID", f"  {unit.product_id}", "Product Key", f"  {unit.product_key}"]
    while len(beside) < len(picture):
        beside.append("")
    shown = [f"{left:<45}{right}".rstrip() for left, right in zip(picture, beside, strict=False)]
    return [label.line(*unit.codes), *(shown or head), *commands, ""]


def say(text: str) -> None:
    """One line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
