"""What is installed where: four import names of ours alone, and extras that suffice by themselves."""

import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = ("agent", "cloud", "protocol", "simulators")


def test_the_four_import_names_are_ours_alone() -> None:
    """Foreign distributions of these names exist and would overwrite ours without a word."""
    owners = metadata.packages_distributions()
    for name in OURS:
        assert set(owners.get(name, ["smartconnect"])) == {"smartconnect"}


def test_every_test_folder_is_a_package() -> None:
    """Otherwise ``tests/protocol`` shadows ``protocol``."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_a_long_module_has_a_reason() -> None:
    """A module over 400 lines is named in a decision note that says why."""
    notes = "".join(path.read_text() for path in (ROOT / "docs" / "decisions").glob("*.md"))
    long = [
        str(path.relative_to(ROOT))
        for name in OURS
        for path in (ROOT / name).rglob("*.py")
        if "node_modules" not in path.parts and len(path.read_text().splitlines()) > 400
    ]
    assert [path for path in long if path not in notes] == []


def top_level_names_outside(extra: str) -> set[str]:
    """Import names of installed distributions that ``pip install smartconnect[extra]`` would not install."""
    wanted: set[str] = set()
    queue = [Requirement(f"smartconnect[{extra}]")]
    seen: set[str] = set()
    while queue:
        requirement = queue.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        wanted.add(canonicalize_name(requirement.name))
        try:
            needs = metadata.requires(requirement.name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        for text in needs:
            need = Requirement(text)
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": name}) for name in extras):
                queue.append(need)
    return {
        name
        for name, owners in metadata.packages_distributions().items()
        if name not in OURS and not wanted & {canonicalize_name(owner) for owner in owners}
    }


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("agent", ["agent", "run", "--help"]),
        ("cloud", ["cloud", "serve", "--help"]),
        ("simulators", ["simulators", "ups", "--help"]),
    ],
)
def test_an_extra_alone_suffices(extra: str, command: list[str]) -> None:
    """Everything of the package imports, and its program starts, with nothing but its own extra installed."""
    absent = top_level_names_outside(extra)
    assert {"agent": "aiohttp", "cloud": "serial", "simulators": "psycopg"}[extra] in absent
    done = run_without(
        absent,
        f"""
        import importlib, pkgutil
        package = importlib.import_module({extra!r})
        for module in pkgutil.walk_packages(package.__path__, {extra!r} + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        """,
        command,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "usage:" in done.stdout


@pytest.mark.parametrize(
    ("command", "installed", "wanted"),
    [
        (["agent", "status", "--config", "{}"], "", "agent"),
        (["agent", "status", "--config", "{}"], "cloud", "agent"),
        (["cloud", "serve"], "agent", "cloud"),
        (["cloud", "admin", "bundle"], "agent", "cloud"),
        (["simulators", "ups", "--help"], "cloud", "simulators"),
        (["simulators.demo", "--help"], "simulators", "agent,cloud,simulators"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(
    command: list[str], installed: str, wanted: str, tmp_path: Path
) -> None:
    """A console script is there with every extra; without its own one it says which to install."""
    config = tmp_path / "agent.toml"
    config.write_text('installation = "i.json"\n')
    words = [word.format(config) for word in command]
    done = run_without(top_level_names_outside(installed), "", words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("smartconnect-")
    assert line.endswith(f"pip install 'smartconnect[{wanted}]'")


def run_without(absent: set[str], code: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run some code and then ``python -m`` a command, where these top-level names cannot be imported."""
    hide = f"""
        import runpy, sys
        class Without:
            def __init__(self, finder):
                self.finder = finder
            def find_spec(self, name, path=None, target=None):
                hidden = name.partition(".")[0] in {sorted(absent)!r}
                return None if hidden else self.finder.find_spec(name, path, target)
            def __getattr__(self, name):
                return getattr(self.finder, name)
        sys.meta_path[:] = map(Without, sys.meta_path)
    """
    run = f"""
        sys.argv[1:] = {command[1:]!r}
        runpy.run_module({command[0]!r}, run_name="__main__", alter_sys=True)
    """
    whole = "\n".join(textwrap.dedent(part) for part in (hide, code, run))
    return subprocess.run(
        [sys.executable, "-c", whole], cwd=ROOT, capture_output=True, text=True, check=False
    )
