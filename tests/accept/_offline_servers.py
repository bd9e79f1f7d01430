"""Servers without a network, for the acceptance ``offline-codes``: each a real agent's.

Run in a network namespace of its own, twice: ``ask FOLDER`` makes a server for each class of refusal and its
request, ``enter FOLDER`` enters what was made for it. Both leave their answers as JSON in FOLDER.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from agent import app
from agent.config import Settings
from agent.errors import SystemRefusedError

CLASSES: Final = (
    "good",
    "good after rotation",
    "used twice",
    "never asked",
    "mistyped",
    "forged",
    "another server's",
    "another registration",
    "another cloud key",
    "an older request's",
    "expired",
    "wrong operation",
)
WORDS: Final = {
    "good": "",
    "good after rotation": "",
    "used twice": "code_no_open_request",
    "never asked": "code_no_open_request",
    "mistyped": "code_mistyped",
    "forged": "code_not_for_request",
    "another server's": "code_not_for_request",
    "another registration": "code_not_for_request",
    "another cloud key": "code_not_for_request",
    "an older request's": "code_not_for_request",
    "expired": "code_expired",
    "wrong operation": "code_wrong_operation",
}
"""Class → the stable code that the server answers with; "" where it takes the code."""


def settings_of(folder: Path, name: str) -> Settings:
    """One server's."""
    state = folder / re.sub(r"\W+", "-", name)
    return Settings(installation=folder / "installation.json", state_dir=state, system_online=False)


def _order(folder: Path, server: str, /, **order: object) -> dict[str, Any]:
    return app.system_offline(settings_of(folder, server), dict(order))


def _request(folder: Path, name: str) -> str:
    return str(_order(folder, name, do="request", operation="register", new=True)["request"])


def ask(folder: Path) -> dict[str, str]:
    """Class → the request of its server, made without a network."""
    made = {}
    for name in CLASSES:
        _order(folder, name, do="create", kind="standalone", name=name)
        made[name] = "" if name == "never asked" else _request(folder, name)
    return made


def enter(folder: Path, codes: dict[str, str]) -> dict[str, str]:
    """Class → how its server answers its code: "" or code and text of the refusal."""
    if "an older request's" in codes:
        _request(folder, "an older request's")
    answers = {}
    for name, code in codes.items():
        answers[name] = _entered(folder, name, code)
        if name == "used twice":
            if answers[name]:
                raise AssertionError(f"the first use: {answers[name]}")
            answers[name] = _entered(folder, name, code)
    return answers


def _entered(folder: Path, name: str, code: str) -> str:
    try:
        shown = _order(folder, name, do="enter", code=code)
    except SystemRefusedError as refusal:
        return f"{refusal.code} {refusal}"
    return "" if shown["stand"] == "registered" else f"it shows {shown['stand']}"


def main(what: str, folder: Path) -> int:
    """Do one of the two; 1 where there is a network."""
    links = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    codes = folder / "codes.json"
    answer = ask(folder) if what == "ask" else enter(folder, json.loads(codes.read_text()))
    (folder / f"{what}.json").write_text(json.dumps(answer))
    return 0 if links <= {"lo"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
