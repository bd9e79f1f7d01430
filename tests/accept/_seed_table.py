"""What the checks of both seeds share: a table of sentences, and the tests that prove them, run for real.

No row is missing, out of order or empty; each named test exists, runs and passes. One that is skipped proves
nothing.
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

ROOT: Final = Path(__file__).parents[2]
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


def tests_of(rows: list[Row], sentences: int) -> set[tuple[str, str]]:
    """The tests of all rows. CheckError where a sentence is missing or a test does not exist."""
    numbers = [row.number for row in rows]
    expect(
        numbers == list(range(1, sentences + 1)),
        f"the rows are not those of {sentences} sentences: {numbers}",
    )
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


def prove(name: str, rows: list[Row], sentences: int) -> int:
    """Run the tests of all rows; the status of the check called ``name``. CheckError."""
    tests = tests_of(rows, sentences)
    progress(f"{len(rows)} sentences, {len(tests)} tests")
    counts = run(tests)
    lost = sorted(f"{file}::{test}" for file, test in tests if not counts[file, test])
    expect(not lost, f"these did not run: {lost}")
    return passed(
        name,
        f"{len(rows)} sentences, none without a proof; {len(tests)} tests of"
        f" {len({file for file, _ in tests})} files, {sum(counts.values())} cases, all passed",
    )
