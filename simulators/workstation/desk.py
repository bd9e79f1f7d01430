"""Carries out what is typed at WorkStation, at the server one is logged on to."""

import time
from typing import Any, Final

from simulators.core.workstation import KINDS, Order, Task, menu_text, registration_text
from simulators.terminal import code_text
from simulators.workstation.server_line import ServerError
from simulators.workstation.site import ENTERPRISE, Site

WAIT_S: Final = 30.0
POLL_S: Final = 0.1
LOCAL: Final = "127.0.0.1"


class Desk:
    """One WorkStation. ``server`` is the one it is logged on to."""

    def __init__(self, site: Site, version: str, *, qr: bool = True) -> None:
        self._site = site
        self._version = version
        self._qr = qr
        self.server = ENTERPRISE

    @property
    def prompt(self) -> str:
        """What stands before the next line."""
        return f"WorkStation {self._version} [{self.server}]> "

    def obey(self, order: Order) -> str:
        """Do it; the answer for people. ServerError when the server says no."""
        words = order.words
        match order.task:
            case Task.HELP:
                return menu_text(self._version)
            case Task.SERVERS:
                return "\n".join(self._line_of(name) for name in self._site.names)
            case Task.LOG_ON:
                self._site.state_dir(words)
                self.server = words
                return registration_text(self._shown())
            case Task.START | Task.STOP:
                (self._site.start if order.task is Task.START else self._site.stop)(words)
                return self._line_of(words)
            case Task.DOCTOR:
                return self._site.doctor(self.server)
            case Task.WAIT:
                return self._wait(words)
            case Task.ATTACH:
                return self._attach(words)
            case Task.DETACH:
                return self._detach(words)
            case _:
                return self._at_server(order)

    def _at_server(self, order: Order) -> str:
        match order.task:
            case Task.REGISTER_NOW:
                answer = self._ask({"do": "register"})
                link = answer["link_to_portal"] or answer["portal"]
                return f"The SmartStruxure Registration Portal opens:\n{link}"
            case Task.REGISTER_OFFLINE | Task.ASSOCIATE_OFFLINE:
                operation = "register" if order.task is Task.REGISTER_OFFLINE else "associate"
                what = {"do": "request", "operation": operation, "new": order.words.lower() == "new"}
                return self._request(self._ask(what))
            case Task.ENTER_CODE:
                return registration_text(self._ask({"do": "enter", "code": order.words}))
            case Task.DELETE:
                answer = self._ask({"do": "delete"})
                return f"The database was deleted. The new System ID is\n{answer['written']}"
            case Task.ACCEPT | Task.DECLINE:
                return registration_text(self._ask({"do": order.task.value, "who": order.words}))
            case _:
                return registration_text(self._shown())

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        return self._site.order(self.server, what)

    def _shown(self) -> dict[str, Any]:
        return self._ask({"do": "show"})

    def _request(self, answer: dict[str, Any]) -> str:
        picture = code_text(answer["link_to_portal"], "l") if self._qr else ""
        groups = answer["request"].split("-")
        lines = ["-".join(groups[start : start + 6]) for start in range(0, len(groups), 6)]
        return picture + "Enter this at Registering an Offline System, or scan it:\n" + "\n".join(lines)

    def _attach(self, name: str) -> str:
        invited = self._site.order(ENTERPRISE, {"do": "invite"})
        what = {"do": "attach", "host": LOCAL, "port": invited["port"], "code": invited["attach_code"]}
        return registration_text(self._site.order(name, what))

    def _detach(self, name: str) -> str:
        """At the server one is logged on to: an Enterprise Server lets go, a stand-alone server leaves."""
        if self.server != ENTERPRISE:
            return registration_text(self._site.order(name, {"do": "detach", "system_id": ""}))
        system_id = next((one["system_id"] for one in self._shown()["attached"] if one["name"] == name), None)
        if system_id is None:
            raise ServerError(f"{name} is not attached")
        return registration_text(self._ask({"do": "detach", "system_id": system_id}))

    def _wait(self, text: str) -> str:
        deadline_s = time.monotonic() + WAIT_S
        while True:
            seen = registration_text(self._shown())
            if text.lower() in seen.lower():
                return seen
            if time.monotonic() > deadline_s:
                raise ServerError(f"{text!r} did not come:\n{seen}")
            time.sleep(POLL_S)

    def _line_of(self, name: str) -> str:
        here = "*" if name == self.server else " "
        if not self._site.is_on(name):
            return f"{here} {name:10} switched off"
        shown = self._site.order(name, {"do": "show"})
        return f"{here} {name:10} {KINDS[shown['kind']]:28} {shown['written']}  {shown['stand']}"
