"""The browser of the browser tests: found, or its absence said aloud, and in CI a failure."""

import os
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> Path | None:
    """``$CHROMIUM``, else the first of the usual names on PATH, else the one playwright has downloaded."""
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named)
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    return next(iter(sorted(cache.glob("chromium-*/chrome-linux*/chrome"))), None)


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """Path of Chromium or Chrome; without one the test is skipped, in CI it fails."""
    found = find_chromium()
    if found is None:
        complaint = "no Chromium or Chrome here (set CHROMIUM to its path)"
        if os.environ.get("CI"):
            pytest.fail(complaint, pytrace=False)
        pytest.skip(complaint)
    return found
