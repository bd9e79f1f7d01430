"""Which language is spoken, and how texts are said in it."""

import asyncio
import gettext as standard
from collections.abc import Iterator

import pytest

from cloud.core import language
from cloud.core.language import accepted, gettext, ngettext, speak, speaking, spoken


class Shouting(standard.NullTranslations):
    """Says everything in capitals."""

    def gettext(self, message: str) -> str:
        return message.upper().replace("{NAME}", "{name}").replace("{COUNT}", "{count}")

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n < 2 else msgid2)


@pytest.fixture
def _german_shouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(language, "_catalogs", {"de": Shouting()})
    with speaking("en"):
        yield


@pytest.mark.usefixtures("_german_shouts")
def test_what_is_said_follows_the_language_and_keeps_its_values() -> None:
    assert gettext("from {name}", name="Ada {x}") == "from Ada {x}"
    with speaking("de"):
        assert gettext("from {name}", name="Ada {x}") == "FROM Ada {x}"
        assert ngettext("{count} device", "{count} devices", 0) == "0 DEVICE"
        assert gettext("") == ""
    assert ngettext("{count} device", "{count} devices", 0) == "0 devices"
    with speaking("xx"):
        assert spoken() == "en"


@pytest.mark.usefixtures("_german_shouts")
async def test_two_tasks_speak_without_disturbing_each_other() -> None:
    async def said(name: str) -> str:
        speak(name)
        await asyncio.sleep(0)
        return gettext("good")

    assert [*await asyncio.gather(said("de"), said("en"), said("de"))] == ["GOOD", "good", "GOOD"]
    assert spoken() == "en"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", "en"),
        ("de", "de"),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"),
        ("es, de-AT;q=0.4, en;q=0.3", "de"),
        ("de;q=0, fr;q=0", "en"),
        ("de;q=no, fr;level=1", "en"),
        ("en;q=0.5, DE;q=0.6", "de"),
        (",;,;;=,-,\x00", "en"),
    ],
)
def test_the_browsers_wish(header: str, name: str) -> None:
    assert accepted(header) == name
