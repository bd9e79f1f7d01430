"""Texts of peers in log lines: capped, and unable to break a line or to steer a terminal.

``cap_text`` has the form of a structlog processor, so that agent and cloud put it into their chains as it
is; it needs nothing of structlog.
"""

from collections.abc import MutableMapping
from typing import Any, Final

MAX_TEXT_CHARS: Final = 500


def cap_text(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cap the length of texts and make control characters visible, since some of them come from peers.

    ``exception`` is our own traceback and is left alone. The mapping is changed and returned.
    """
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            text = value if len(value) <= MAX_TEXT_CHARS else value[:MAX_TEXT_CHARS] + "…"
            event[key] = text if text.isprintable() else text.encode("unicode_escape").decode()
    return event
