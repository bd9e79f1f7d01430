"""What a log line may hold: no secret from the variables of a failed call, nothing that breaks the line."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from agent import logs

PLANTED = "PLANTEDKEY1234"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def fail(typed: dict[str, str]) -> None:
    """Raise with a secret among the local variables."""
    product_key = typed["product_key"]
    raise RuntimeError(f"broken after {len(product_key)} characters")


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure(form=form)
    log = structlog.get_logger()
    try:
        fail({"product_key": PLANTED})
    except RuntimeError:
        log.exception("a request failed")
        logging.getLogger("some.library").exception("so did this")
    written = capsys.readouterr().err
    assert written.count("broken after 14 characters") == 2
    assert "in fail" in written
    assert PLANTED not in written


def test_text_from_peers_stays_on_its_line_and_is_capped(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(form="json")
    structlog.get_logger().info("read", model="a\r\nb\x1b[31m" + "x" * 1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    entry = json.loads(lines[0])
    assert entry["process"] == "agent"
    assert entry["model"].startswith("a\\r\\nb\\x1b[31mxxx")
    assert len(entry["model"]) < 600
