"""Acceptance ``seed-000``: every sentence of the first seed works, and a test of its own proves it.

``docs/seed-000.md`` claims it, a row a sentence. Here it is held to that: no row is missing, out of order or
empty, the messages and buttons stand there word for word, and each named test exists, runs and passes. One
that is skipped proves nothing.
"""

from typing import Final

from tests.accept import expect
from tests.accept._seed_table import ROOT, prove, rows_of

NAME: Final = "seed-000"
PAGE: Final = ROOT / "docs" / "seed-000.md"
SENTENCES: Final = 104
"""Lines of the seed's text; each says one thing."""
MESSAGES: Final = """
Send a co-worker an invite to the portal. Just enter their email address and we'll connect them to register.
After joining, they will belong to the same company.

You have entered an invalid email address. Please re-enter the email address.

This co-worker has already been invited to the Exchange portal. Please invite another co-worker.

Please enter email address

Send Invite · Cancel

Invitation Sent

Your invitation was sent. Thanks for sharing Exchange with your co-worker.

If you already have an account on partner.schneider-electric.com, you can log in to the Web Portal using those
credentials.

The password must be at least 8 characters in length.

The password cannot contain your first name or last name.

The password must use at least 3 of four character types: upper case letters, lower case letters, numbers and
symbols.

Cannot contain email or part of email.

NOTE: This action cannot be undone and your user accounts across all Schneider Electric applications will be
permanently deleted.
"""
WORD_FOR_WORD: Final = tuple(" ".join(text.split()) for text in MESSAGES.split("\n\n"))
"""What the seed quotes, and what it says that people are told: these are not shortened."""


def main() -> int:
    """Run the check."""
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    said = {row.said for row in rows}
    missing = [words for words in WORD_FOR_WORD if words not in said]
    expect(not missing, f"not word for word: {missing}")
    return prove(NAME, rows, SENTENCES)
