"""Marks for translation: this package speaks English, and whoever shows its texts says them in a language."""


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for a mark
    """Mark a text; whoever shows it translates it."""
    return message
