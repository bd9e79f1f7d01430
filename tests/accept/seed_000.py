"""Acceptance ``seed-000``: every sentence of the first seed works, and a test of its own proves it.

``docs/seed-000.md`` claims it, a row a sentence. Here it is held to that: no row is missing, out of order or
empty, the messages and buttons stand there word for word, and each named test exists, runs and passes. One
that is skipped proves nothing.
"""

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.accept import expect, passed, progress

NAME: Final = "seed-000"
ROOT: Final = Path(__file__).parents[2]
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
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
TIME_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence: what the seed says, where it works, and the tests, as (file, name)."""

    number: int
    said: str
    where: str
    tests: tuple[tuple[str, str], ...]


def rows_of(page: str) -> list[Row]:
    """The table. CheckError for a row that is not complete."""
    found = []
    for line in page.splitlines():
        if not re.match(r"\| *\d+ *\|", line):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        expect(len(cells) == 4 and all(cells), f"a row with an empty cell: {line}")
        number, said, where, proof = cells
        tests = tuple(TEST.findall(proof))
        named = re.sub(r"\s|<br>", "", TEST.sub("", proof))
        expect(tests and not named, f"row {number} names something that is no module-level test: {proof}")
        found.append(Row(int(number), re.sub(r"\\(.)", r"\1", said), where, tests))
    return found


def check(rows: list[Row]) -> set[tuple[str, str]]:
    """The tests of all rows. CheckError where a sentence is missing or a test does not exist."""
    numbers = [row.number for row in rows]
    expect(
        numbers == list(range(1, SENTENCES + 1)),
        f"the rows are not those of {SENTENCES} sentences: {numbers}",
    )
    said = {row.said for row in rows}
    missing = [words for words in WORD_FOR_WORD if words not in said]
    expect(not missing, f"not word for word: {missing}")
    tests = {test for row in rows for test in row.tests}
    for file, name in sorted(tests):
        path = ROOT / file
        expect(path.is_file(), f"there is no {file}")
        defined = re.search(rf"^(?:async )?def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        expect(defined, f"{file} has no {name} at its top level")
    return tests


def run(tests: set[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """How many cases of each test passed. CheckError for those that failed or were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-n",
                    "2",
                    "--dist",
                    "worksteal",
                    f"--junitxml={report}",
                ),
                *(f"{file}::{name}" for file, name in sorted(tests)),
            ],
            env={**os.environ, "CI": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_S,
        )
        expect(report.is_file(), f"pytest made no report: {(done.stdout + done.stderr)[-2000:]}")
        cases = list(ET.parse(report).iter("testcase"))
    bad = [
        str(case.get("name"))
        for case in cases
        if len(case) and case[0].tag in {"failure", "error", "skipped"}
    ]
    expect(not bad, f"{', '.join(bad)}: {done.stdout[-2000:]}")
    return Counter(
        (str(case.get("classname")).replace(".", "/") + ".py", str(case.get("name")).partition("[")[0])
        for case in cases
    )


def main() -> int:
    """Run the check."""
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    tests = check(rows)
    progress(f"{len(rows)} sentences, {len(tests)} tests")
    counts = run(tests)
    lost = sorted(f"{file}::{name}" for file, name in tests if not counts[file, name])
    expect(not lost, f"these did not run: {lost}")
    return passed(
        NAME,
        f"{len(rows)} sentences, none without a proof; {len(tests)} tests of"
        f" {len({file for file, _ in tests})} files, {sum(counts.values())} cases, all passed",
    )
