"""What texts of peers become in a log line."""

from protocol.log_text import MAX_TEXT_CHARS, cap_text


def test_long_texts_are_capped() -> None:
    event = cap_text(None, "info", {"event": "x", "reason": "y" * (MAX_TEXT_CHARS + 1), "count": 3})
    assert event == {"event": "x", "reason": "y" * MAX_TEXT_CHARS + "…", "count": 3}


def test_control_characters_are_visible() -> None:
    event = cap_text(None, "info", {"event": "a\r\nb", "reason": "\x1b[2J", "model": "Smart-UPS ü"})
    assert event == {"event": "a\\r\\nb", "reason": "\\x1b[2J", "model": "Smart-UPS ü"}


def test_our_own_traceback_keeps_its_lines() -> None:
    assert cap_text(None, "info", {"exception": "a\n b"}) == {"exception": "a\n b"}
