"""What the demo tells people: addresses, log-ins, labels, and lines to paste."""

import os
import select
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulators import label
from simulators.demo.layout import Account, Unit

RULE: Final = "─" * 100
LIGHT_ON_DARK: Final = "\x1b[97;40m"
PLAIN: Final = "\x1b[0m"


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


def render(report: Report, encoding: str | None, *, colour: bool = False) -> str:
    """The report as text; the QR codes need an encoding that has block characters.

    ``colour`` is for terminals: light on dark, whatever their own colours are, so that phones read it.
    """
    blocks = (encoding or "").lower().replace("-", "") == "utf8"
    rule = RULE if blocks else "-" * len(RULE)
    lines = [rule, f"Portal   {report.portal_url}", f"Gateway  {report.gateway} (MQTT over TLS)"]
    lines += [f"Log-in   {account.email}  password {account.password}" for account in report.accounts]
    lines += [f"Mails    {report.portal_url}/mailbox", "", *report.notes, ""]
    for number, item in enumerate(report.units, 1):
        lines += _unit(number, item, report.portal_url, blocks=blocks, colour=colour)
    lines += [
        "Try this: log in, choose Add device, Product Codes, and type a label's codes.",
        "Then pull the mains of that UPS and watch its page. The other log-in cannot have a device you own.",
        "Ctrl-C stops everything; the next `make demo` keeps it all; `make demo-reset` forgets it.",
        rule,
    ]
    return "\n".join(lines) + "\n"


def _unit(number: int, item: UnitReport, portal_url: str, *, blocks: bool, colour: bool) -> list[str]:
    unit = item.unit
    state = "on" if unit.smartconnect else "off; its button switches it on"
    head = [
        f"UPS {number}  {unit.name}, {item.place}",
        f"SmartConnect is {state}",
    ]
    commands = [line for what, words in item.commands for line in (f"{what}:", f"  {shlex.join(words)}")]
    picture = label.qr_text(portal_url, *unit.codes).splitlines() if blocks else []
    beside = ["", *head, "", "Product ID", f"  {unit.product_id}", "Product Key", f"  {unit.product_key}"]
    beside += [""] * (len(picture) - len(beside))
    before, after = (LIGHT_ON_DARK, PLAIN) if colour else ("", "")
    shown = [
        f"{before}{left}{after}{'':<4}{right}".rstrip() for left, right in zip(picture, beside, strict=False)
    ]
    return [label.line(*unit.codes), *(shown or head), *commands, ""]


class OutputClosedError(Exception):
    """Nobody reads our standard output any more: its pipe was closed, or its terminal."""


def say(text: str) -> None:
    """One line of progress; OutputClosedError when it cannot be said."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is still buffered must not fail again at exit
        os.close(nowhere)
        raise OutputClosedError from error


def check_output() -> None:
    """OutputClosedError once nobody can read what we would say: no signal tells so of a pipe, and ``make`` as
    the leader of a closed terminal keeps the signal to itself.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are always told
    if any(found & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, found in poll.poll(0)):
        raise OutputClosedError
