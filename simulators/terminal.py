"""QR codes for a terminal."""

import io

import segno


def code_text(link: str, error: str = "m") -> str:
    """A QR code in half-block characters, without colour; ``error`` is its level of correction."""
    out = io.StringIO()
    segno.make(link, error=error, micro=False).terminal(out, compact=True, border=2)
    return out.getvalue()
