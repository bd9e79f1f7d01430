"""Pages in other languages: nothing on them stays English, and every text has its translation."""

import ast
import gettext as standard
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

import build_assets
from cloud import catalogs
from cloud.core import language
from cloud.web import tables
from tests.cloud.web.conftest import Somebody
from tests.cloud.web.test_stranger import requests
from tests.support.foreign_world import World, build
from tests.support.portal import Portal, Visitor

OPEN, SHUT = "⟦", "⟧"
SPOKEN_ATTRIBUTES: Final = frozenset({"alt", "aria-label", "placeholder", "title"})
SILENT: Final = frozenset({"code", "kbd", "pre", "samp", "script", "style", "svg", "textarea"})
"""Elements that hold names, examples and codes, not sentences."""
VOID: Final = frozenset({"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})
NAMES: Final = re.compile(
    r"SmartConnect|Schneider Electric|Exchange|Deutsch|Français|English|https?://\S+|[\w.+-]+@[\w.-]+"
    r"|\b(?:min|mog|sog\d|UTC|UPS|API|CSV|JSON|QR|SKU|URL|HTTPS?|MQTT|VA|Hz|kWh|Prometheus)\b"
)
"""Product names, addresses, units and abbreviations: the same in every language."""
WORD: Final = re.compile(r"[^\W\d_]{3,}")


class Pseudo(standard.NullTranslations):
    """A language in which every text stands in brackets, so that one that was not asked for shows."""

    def gettext(self, message: str) -> str:
        return f"{OPEN}{message}{SHUT}"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"{OPEN}{msgid1 if n == 1 else msgid2}{SHUT}"


class Unmarked(HTMLParser):
    """Collects the texts of a page that stand outside all brackets: (line, text)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str]] = []
        self._depth = 0
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in SILENT or "code" in given.get("class", "").split() or given.get("translate") == "no":
            if tag not in VOID:
                self._silent.append(tag)
        elif self._silent and tag == self._silent[-1]:
            self._silent.append(tag)
        for name in SPOKEN_ATTRIBUTES & given.keys() if given.get("translate") != "no" else ():
            outside = self._outside(given[name])
            self._look(f"{name}={outside}", outside)

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()

    def handle_data(self, data: str) -> None:
        outside = self._outside(data)
        if not self._silent:
            self._look(data.strip(), outside)

    def _outside(self, text: str) -> str:
        outside = []
        for char in text:
            self._depth += (char == OPEN) - (char == SHUT)
            outside.append(" " if self._depth or char == SHUT else char)
        return "".join(outside)

    def _look(self, shown: str, outside: str) -> None:
        if WORD.search(NAMES.sub(" ", outside)):
            self.found.append((self.getpos()[0], " ".join(shown.split())[:160]))


@pytest.fixture
def _brackets() -> Iterator[None]:
    language.learn({"de": Pseudo()})
    yield
    catalogs.load()


def data_of(world: World) -> re.Pattern[str]:
    """What people have typed into this world, what devices have told, and countries: their names in every
    language come with Babel, not with our catalogues.
    """
    with language.speaking("de"):
        countries = tables.locations().values()
    told = sorted({*world.marks, *world.ids.values(), *countries}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, told)))


def unmarked(text: str, data: re.Pattern[str]) -> list[tuple[int, str]]:
    """The texts of a page that no language but English has."""
    parser = Unmarked()
    parser.feed(data.sub(" ", text))
    parser.close()
    return parser.found


@pytest.mark.usefixtures("portal", "_brackets")  # in this order: a portal learns what there is
@pytest.mark.timeout(240)
async def test_no_page_keeps_a_text_to_itself(portal: Portal, ada: Somebody, stranger: Visitor) -> None:
    bob = await portal.add_person("bob@example.org", first_name="Bob")
    world = await build(portal, ada.actor, bob)
    data = data_of(world)
    faults: list[str] = []
    seen = 0
    for visitor in (stranger, ada.browser):
        await visitor.get("/login")
        await visitor.post("/language", {"language": "de", "next": "/"})
        for asked in requests(portal, world):
            if asked.method != "GET" or asked.route.startswith(("/api/v", "/static")):
                continue
            if asked.route.endswith("/live"):
                continue
            answer = await visitor.get(asked.target)
            if "text/html" not in answer.headers.get("Content-Type", ""):
                continue
            seen += 1
            faults += [f"{asked.target}:{line}: {shown}" for line, shown in unmarked(answer.text, data)]
    assert seen > 60
    assert not faults, "\n".join(sorted(set(faults)))


PLACEHOLDER: Final = re.compile(r"\{\w*\}|%\(\w+\)[sd]|%%|<[^>]*>")
"""What a translation must keep: places of values, and elements of HTML."""


def forms(text: str | tuple[str, ...] | list[str] | None) -> list[str]:
    """The forms of a text: one, or one each for one and many."""
    return [text or ""] if isinstance(text, str | None) else list(text)


@pytest.fixture(scope="module")
def said() -> Catalog:
    """Every text that is marked."""
    return build_assets.texts()


@pytest.mark.parametrize("source", build_assets.sources(), ids=lambda source: source.parts[-3])
def test_every_text_has_its_translation(source: Path, said: Catalog) -> None:
    with source.open("rb") as file:
        catalog = read_po(file)
    known = {message.id: message for message in catalog if message.id}
    faults = []
    for message in said:
        if not message.id:
            continue
        found = known.pop(message.id, None)
        if found is None or found.fuzzy or not all(forms(found.string)):
            faults.append(f"not translated: {message.id!r}")
            continue
        wanted = {frozenset(PLACEHOLDER.findall(form)) for form in forms(message.id)}
        for form in forms(found.string):
            if frozenset(PLACEHOLDER.findall(form)) not in wanted:
                faults.append(f"other places or elements: {message.id!r} → {form!r}")
            if form.count('"') > max(one.count('"') for one in forms(message.id)):
                faults.append(f"quotes that would end an attribute: {form!r}")
    assert not [*faults, *(f"no longer said: {one!r}" for one in known)]


def test_texts_of_templates_are_collected_as_templates_ask_for_them(said: Catalog) -> None:
    """With ``%%`` for a per cent sign: a text under another key would never be found."""
    for message in said:
        if any(str(name).endswith(".html") for name, _ in message.locations):
            for form in forms(message.id):
                assert "%" not in re.sub(r"%%|%\(\w+\)s", "", form), form


def test_every_language_has_its_catalogue() -> None:
    assert {source.parts[-3] for source in build_assets.sources()} == set(language.LANGUAGES) - {"en"}
    assert build_assets.compiled()


def test_no_text_hides_in_an_f_string_where_nobody_collects_it() -> None:
    hidden = []
    for path in (build_assets.ROOT / "cloud").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                hidden += [
                    f"{path.name}:{call.lineno}"
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Name)
                    and call.func.id in {"gettext", "ngettext", "N_", "_"}
                    and call.args
                    and isinstance(call.args[0], ast.Constant)
                ]
    assert not hidden
