"""Acceptance ``portal-browser``: the browser tests of each flow at phone and desktop size, and the pictures.

A flow is a name and the files of ``tests/browser`` that walk it; add yours to ``FLOWS``. A file in none of
them is a flow by itself. No page may log an error (tests/browser/conftest.py sees to it). Pictures of each
page, phone and desktop, light and dark, go to docs/screens; one that shows the same as before is left alone.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.accept import expect, passed, progress
from tests.support.pictures import SIZES

BROWSER: Final = Path(__file__).parents[1] / "browser"
SCREENS: Final = Path(__file__).parents[2] / "docs" / "screens"
FLOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "registration, two-factor, reset, invitation": ("test_rooms.py",),
    "register UPS: scanner, photo, codes, link": ("test_scan.py", "test_link.py", "test_claim_ways.py"),
    "devices, live": ("test_portal.py", "test_stack.py"),
    "outages": ("test_outages.py",),
    "outlet control": ("test_control.py",),
    "rules": ("test_rules.py",),
    "transfer": ("test_offer.py",),
}
ELSEWHERE: Final = {
    "test_access.py": "portal-a11y runs it in sizes of its own",
    "test_firefox.py": "another browser, which has sizes of its own",
}
PICTURED: Final = "phone"
"""The run whose flows take pictures; each is of both sizes."""
TIME_S: Final = 900.0


def run(files: tuple[str, ...], report: Path, **environment: str) -> int:
    """The tests of these files, in two processes; how many passed. CheckError names those that did not."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "2", f"--junitxml={report}"),
            *(str(BROWSER / name) for name in files),
        ],
        env={**os.environ, "CI": "1", **environment},
        cwd=BROWSER.parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_S,
    )
    cases = list(ET.parse(report).iter("testcase")) if report.is_file() else []
    bad = [
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    expect(not bad, f"{', '.join(map(str, bad))}: {done.stdout[-2000:]}")
    expect(done.returncode == 0, f"{' '.join(files)}: status {done.returncode}: {done.stdout[-2000:]}")
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    expect(cases and not skipped, f"{' '.join(files)}: skipped {skipped}")
    return len(cases)


def flows() -> dict[str, tuple[str, ...]]:
    """FLOWS, and every other file there is. CheckError where one is gone."""
    listed = {name for files in FLOWS.values() for name in files} | set(ELSEWHERE)
    there = {path.name for path in BROWSER.glob("test_*.py")}
    expect(not listed - there, f"not there: {sorted(listed - there)}")
    return {**FLOWS, **{name: (name,) for name in sorted(there - listed)}}


def check() -> str:
    """All flows in both sizes, then the pictures of the rooms; the figures."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    count = 0
    with tempfile.TemporaryDirectory(prefix="portal-browser-") as folder:
        report = Path(folder) / "report.xml"
        for size in SIZES:
            pictures = {"PICTURES": str(SCREENS)} if size == PICTURED else {}
            for name, files in flows().items():
                progress(f"{name}, at {size} size")
                report.unlink(missing_ok=True)
                count += run(files, report, BROWSER_SIZE=size, **pictures)
        progress("pictures of all rooms")
        report.unlink(missing_ok=True)
        run(("screens.py",), report, PICTURES=str(SCREENS))
    pictures_there = sorted(SCREENS.glob("*.webp"))
    size_kb = sum(path.stat().st_size for path in pictures_there) // 1024
    return (
        f"{len(flows())} flows, {count} tests passed in {len(SIZES)} sizes, no console error;"
        f" {len(pictures_there)} pictures, {size_kb} KB"
    )


def main() -> int:
    """Run the check; its exit status."""
    return passed("portal-browser", check())
