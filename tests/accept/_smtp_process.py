"""A third-party SMTP server as a process: each mail it takes is a line of a file, written before the reply.

``python -m tests.accept._smtp_process PORT FILE``
"""

import json
import signal
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Keeper:
    """Keeps every mail."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """One mail."""
        message = message_from_bytes(bytes(envelope.original_content or b""), policy=policy.default)
        body = message.get_body(("plain",))
        line = {
            "at_ms": time.time_ns() // 1_000_000,
            "to": envelope.rcpt_tos,
            "id": message["Message-ID"],
            "subject": message["Subject"],
            "unsubscribe": message["List-Unsubscribe-Post"],
            "text": body.get_content() if body is not None else "",
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 taken"


def main() -> None:
    """Serve until SIGTERM."""
    controller = Controller(Keeper(Path(sys.argv[2])), hostname="127.0.0.1", port=int(sys.argv[1]))
    controller.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    controller.stop()


if __name__ == "__main__":
    main()
