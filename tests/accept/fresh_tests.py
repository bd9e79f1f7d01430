"""Acceptance ``fresh-tests``: a fresh clone passes ``make test`` in ten minutes, and says, or in CI fails,
without a browser.
"""

import os
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from tests.accept import expect, passed, progress

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0
BROWSERS = ("chromium", "chrome", "google-chrome")


def main() -> int:
    """Run the whole check."""
    ci = (ROOT / ".ci" / "run").read_text()
    expect(
        re.search(r"^make test( </dev/null)?$", ci, re.MULTILINE), ".ci/run does not call exactly make test"
    )
    expect(re.search(r"apt-get install", ci), ".ci/run does not install from Debian")
    expect("missing+=(chromium)" in ci, ".ci/run does not install Chromium")
    with tempfile.TemporaryDirectory(prefix="sc-fresh-") as name:
        clone = Path(name) / "try"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        progress("cloned; installing")
        install_s = _make(clone, ".venv/test.stamp", os.environ)[0]
        progress(f"installed in {install_s:.0f} s; running make test")
        before_s = _worked_s()
        test_s, code, said = _make(clone, "test", os.environ)
        summary, worked_s = _summary(said), _worked_s() - before_s
        progress(f"make test: {summary} after {test_s:.0f} s, {worked_s:.0f} s of a processor")
        expect(code == 0, f"make test failed: {summary}; {said[-1500:]}")
        expect(test_s <= LIMIT_S, f"make test took {test_s:.0f} s")
        left_out = _left_out(said)
        sightless = [reason for reason in left_out if re.search("no (Chromium|Firefox)", reason)]
        expect(not sightless, f"a browser test was not run: {'; '.join(sightless)}")
        blind = _without_browsers(Path(name), os.environ)
        _, code, said = _make(clone, "test", blind, "ARGS=-m browser")
        expect(code == 0, f"without a browser, outside CI: status {code}: {said[-1500:]}")
        line = next((line for line in _left_out(said) if "no Chromium" in line), "")
        expect(re.search(r"not run: [1-9]", line), "without a browser nothing says what was not run")
        _, code, said = _make(clone, "test", {**blind, "CI": "true"}, "ARGS=-m browser")
        expect(code != 0 and "no Chromium" in said, "in CI a missing browser does not fail")
    return passed(
        "fresh-tests",
        f"install {install_s:.0f} s; make test {test_s:.0f} s ({summary};"
        f" {worked_s:.0f} s of a processor, {os.cpu_count()} there, load {os.getloadavg()[1]:.1f});"
        f" {'; '.join(left_out) or 'nothing left out'};"
        f" without a browser: “{line.strip()}”, and CI fails",
    )


def _worked_s() -> float:
    """Seconds of a processor that the processes we waited for have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _make(
    clone: Path, target: str, environment: "os._Environ[str] | dict[str, str]", *more: str
) -> tuple[float, int, str]:
    began = time.monotonic()
    kept = {
        name: value for name, value in environment.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    done = subprocess.run(
        ["make", target, *more],
        cwd=clone,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return time.monotonic() - began, done.returncode, done.stdout


def _summary(said: str) -> str:
    found = re.findall(r"^=* ?(\d+ (?:passed|failed|skipped|error).*?) in [\d.]+s", said, re.MULTILINE)
    return found[-1] if found else "no summary"


def _left_out(said: str) -> list[str]:
    """What pytest's last word says was not run, one line a reason."""
    return [line.strip() for line in said.splitlines() if line.strip().lower().startswith("not run:")]


def _without_browsers(folder: Path, environment: "os._Environ[str]") -> dict[str, str]:
    """An environment whose PATH has every program but browsers."""
    shim = folder / "path"
    shim.mkdir()
    for place in environment["PATH"].split(os.pathsep):
        if Path(place).is_dir():
            for program in Path(place).iterdir():
                link = shim / program.name
                if not program.name.startswith(BROWSERS) and not link.exists() and not link.is_symlink():
                    link.symlink_to(program)
    blind = {name: value for name, value in environment.items() if name not in {"CI", "CHROMIUM"}}
    return {**blind, "PATH": str(shim), "PLAYWRIGHT_BROWSERS_PATH": str(folder / "none")}
