"""How WorkStation speaks to a server: the control socket of the agent that plays it."""

import json
import os
import socket
from pathlib import Path
from typing import Any, Final

from protocol.codec import MAX_CONTROL_BYTES

SOCKET: Final = "control.sock"
TIMEOUT_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 1 << 20


class ServerError(Exception):
    """A server is off, or does not do what was asked of it; the text is for people."""


def order(state_dir: Path, what: dict[str, Any]) -> dict[str, Any]:
    """Have the server do this; its answer. ServerError when it says no, or is not there."""
    request = json.dumps({"order": "system", **what}).encode() + b"\n"
    if len(request) > MAX_CONTROL_BYTES:
        raise ServerError("that is too long")
    try:
        handle = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # the path of a Unix socket may have 107 bytes only
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(TIMEOUT_S)
                line.connect(f"/proc/self/fd/{handle}/{SOCKET}")
                line.sendall(request)
                with line.makefile("rb") as answers:
                    answer: dict[str, Any] = json.loads(answers.readline(MAX_ANSWER_BYTES))
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise ServerError("this server is switched off, or starts") from error
    if "error" in answer:
        raise ServerError(str(answer["error"]))
    return answer
