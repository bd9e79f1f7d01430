"""What is wrong with typed codes is said in the language of whoever typed them, with the values in place."""

import gettext as standard
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from cloud import catalogs
from cloud.core import language
from cloud.core.typed import fault_of
from protocol.errors import ProtocolError
from protocol.identity import ProductId, ProductKey
from protocol.system import SystemId
from protocol.system_code import REQUEST_TEXTS, MistypedError, read_request

GERMAN: Final = {
    "The Product Key has {length} characters; this one has {count}.": "Es hat {length}, nicht {count}.",
    "Group {place} of the request is mistyped: {part}. Compare it.": "Gruppe {place} stimmt nicht: {part}.",
    "A System ID has {length} characters; this one has {count}.": "{count} statt {length} Zeichen.",
}


class German(standard.NullTranslations):
    """A few words of it."""

    def gettext(self, message: str) -> str:
        return GERMAN.get(message, message)


@pytest.fixture
def _german() -> Iterator[None]:
    language.learn({"de": German()})
    yield
    catalogs.load()


@pytest.mark.usefixtures("_german")
@pytest.mark.parametrize(
    ("parse", "text", "english", "german"),
    [
        (
            ProductKey.parse,
            "ABC",
            "The Product Key has 14 characters; this one has 3.",
            "Es hat 14, nicht 3.",
        ),
        (ProductId.parse, "Ä" * 12, *["The Product ID has letters A–Z and digits only."] * 2),
        (SystemId.parse, "abc", "A System ID has 45 characters; this one has 3.", "3 statt 45 Zeichen."),
        (
            read_request,
            "AAAAAA",
            "Group 1 of the request is mistyped: AAAAAA. Compare it.",
            "Gruppe 1 stimmt nicht: AAAAAA.",
        ),
    ],
)
def test_a_fault_is_said_in_the_language_of_the_page(
    parse: Callable[[str], object], text: str, english: str, german: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert str(caught.value) == fault_of(caught.value) == english
    with language.speaking("de"):
        assert fault_of(caught.value) == german


@pytest.mark.parametrize("text", ["A" * 9000, "AAAAAA", "0"])
def test_what_is_said_of_a_request_is_marked_for_translation(text: str) -> None:
    with pytest.raises(MistypedError) as caught:
        read_request(text)
    assert caught.value.message in REQUEST_TEXTS
