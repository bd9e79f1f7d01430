"""Acceptance ``seed-003``: every sentence of the second seed works, and a test of its own proves it.

``docs/seed-003.md`` claims it, a row a sentence. It is held to that as the first seed's page is
(:mod:`tests.accept.seed_000`): no row is missing or empty, and each named test exists, runs and passes.
"""

import re
from typing import Final

from tests.accept import expect, passed, progress
from tests.accept.seed_000 import ROOT, Row, rows_of, run

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


def check(rows: list[Row]) -> set[tuple[str, str]]:
    """The tests of all rows. CheckError where a sentence is missing or a test does not exist."""
    numbers = [row.number for row in rows]
    expect(numbers == list(range(1, SENTENCES + 1)), f"not the rows of {SENTENCES} sentences: {numbers}")
    missing = [words for words in WORDS if not any(words in row.said for row in rows)]
    expect(not missing, f"not named: {missing}")
    tests = {test for row in rows for test in row.tests}
    for file, name in sorted(tests):
        path = ROOT / file
        expect(path.is_file(), f"there is no {file}")
        defined = re.search(rf"^(?:async )?def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        expect(defined, f"{file} has no {name} at its top level")
    return tests


def main() -> int:
    """Run the check."""
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    tests = check(rows)
    progress(f"{len(rows)} sentences, {len(tests)} tests")
    counts = run(tests)
    lost = sorted(f"{file}::{name}" for file, name in tests if not counts[file, name])
    expect(not lost, f"these did not run: {lost}")
    return passed(
        "seed-003",
        f"{len(rows)} sentences, none without a proof; {len(tests)} tests of"
        f" {len({file for file, _ in tests})} files, {sum(counts.values())} cases, all passed",
    )
