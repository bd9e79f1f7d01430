"""Documentation against the code."""

import re
from pathlib import Path

from tests.architecture.settings_page import PAGE, render

ROOT = Path(__file__).parents[2]


def test_the_settings_page_is_the_tables() -> None:
    """``python -m tests.architecture.settings_page`` writes it again."""
    assert PAGE.read_text(encoding="utf-8") == render()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Files and folders that the README names."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in target]
    assert links
    assert [target for target in links if not (ROOT / target).exists()] == []


def test_every_make_target_named_in_the_readme_exists() -> None:
    """``make NAME`` in the README is a target of the Makefile."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in set(re.findall(r"make ([a-z][a-z-]+)", readme)):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
