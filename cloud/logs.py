"""One log format for all processes, on stderr: human on a terminal, one JSON object a line elsewhere."""

import logging
import sys
from typing import Any

import structlog

from protocol.log_text import cap_text


def configure(process: str, *, level: str = "info", form: str = "auto") -> None:
    """Set up structlog, and the standard library's logging of our dependencies, for this process.

    ``form`` is ``human``, ``json`` or ``auto``. Values from peers are capped and cannot break a line.
    """
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        structlog.processors.StackInfoRenderer(),
        cap_text,
    ]
    last: list[structlog.typing.Processor] = (
        [_console()]
        if human
        else [_Named(process), structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    # Whoever asks the pool says once that the database is away; the pool would say it at every attempt.
    logging.getLogger("psycopg.pool").setLevel(max(logging.ERROR, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _console() -> structlog.dev.ConsoleRenderer:
    # Its default traceback shows local variables, and with them passwords and Product Keys.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )


class _Named:
    """Add the process' name to a JSON line."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(
        self, _logger: Any, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["process"] = self._process
        return event
