"""A language of a few texts, so that tests do not lean on the words of the real catalogues."""

import contextlib
from collections.abc import Iterator, Mapping
from gettext import NullTranslations

from cloud import catalogs
from cloud.core import language


class FewTexts(NullTranslations):
    """Says what it is given; all else stays English."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def gettext(self, message: str) -> str:
        """The text, or the message."""
        return self._texts.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """By the message of this number."""
        return self.gettext(msgid1 if n == 1 else msgid2)


@contextlib.contextmanager
def knowing_german(texts: Mapping[str, str]) -> Iterator[None]:
    """German has these texts alone."""
    language.learn({"de": FewTexts(texts)})
    try:
        yield
    finally:
        catalogs.load()
