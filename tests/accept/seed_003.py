"""Acceptance ``seed-003``: every sentence of the second seed works, and a test of its own proves it.

``docs/seed-003.md`` claims it, a row a sentence. It is held to that as the first seed's page is
(:mod:`tests.accept._seed_table`): no row is missing or empty, and each named test exists, runs and passes.
"""

from typing import Final

from tests.accept import expect
from tests.accept._seed_table import ROOT, prove, rows_of

PAGE: Final = ROOT / "docs" / "seed-003.md"
SENTENCES: Final = 39
WORDS: Final = (
    "Click Register now",
    "Enter a new System ID",
    "Click Proceed.",
    "Select the system",
    "Click Associate.",
    "System Registration Overview",
    "Registering an Offline System",
    "System Association Page",
    "Register Page",
    "System Information Page",
)
"""Pages and steps that the seed names."""


def main() -> int:
    """Run the check."""
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    missing = [words for words in WORDS if not any(words in row.said for row in rows)]
    expect(not missing, f"not named: {missing}")
    return prove("seed-003", rows, SENTENCES)
