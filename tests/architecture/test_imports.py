"""The import rule, and the names that must not appear."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_arrows_point_one_way() -> None:
    """The contracts of pyproject.toml, as ``make check`` runs them too."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_requirements_name_no_registry() -> None:
    """Pins carry hashes, never an address."""
    for path in ROOT.glob("requirements*.txt"):
        text = path.read_text()
        assert "://" not in text
        assert "--index" not in text
        assert "--hash=sha256:" in text
    lock = (ROOT / "cloud" / "web" / "frontend" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
