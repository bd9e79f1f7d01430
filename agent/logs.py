"""One log format, on stderr: human on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys

import structlog

from protocol.log_text import cap_text


def configure(*, level: str = "info", form: str = "auto") -> None:
    """Set up structlog and the standard library's logging; ``form`` is ``human``, ``json`` or ``auto``."""
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        cap_text,
    ]
    last: list[structlog.typing.Processor] = (
        [_console()]
        if human
        else [_name_process, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
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
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # every failure of it is reported by our driver
    logging.getLogger("asyncio").setLevel(logging.WARNING)
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
    # Its default traceback, where rich is installed, shows local variables, and with them Product Keys.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )


def _name_process(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["process"] = "agent"
    return event


class Repeats:
    """Says how loud a failure is logged: the first WARNING, repeats DEBUG, the recovery INFO."""

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        self._log = log
        self._failing = False

    def failed(self, event: str, **values: object) -> None:
        """The thing failed, perhaps again."""
        (self._log.debug if self._failing else self._log.warning)(event, **values)
        self._failing = True

    def worked(self, event: str, **values: object) -> None:
        """The thing worked; logged only after a failure."""
        if self._failing:
            self._log.info(event, **values)
        self._failing = False
