"""The language in which this request, page or mail speaks: gettext with the English text as its key.

Texts of code are said with :func:`gettext` (``gettext("to {name}", name="Ada")``) or, where a number decides
the words, with :func:`ngettext`; templates have the same functions as ``_`` and ``{% trans %}``. Texts of
tables that are made when a module is loaded are marked with :func:`N_` and said with ``gettext(text)`` where
they are shown. Values stand in braces by name, in templates as Jinja's own ``%(name)s``.

Each request and each mail says once in which language it speaks (:func:`speak`, :func:`speaking`); where
nobody has, it is English. What is spoken belongs to the task (a context variable), so that two requests at
once do not disturb each other. Catalogues are given by :mod:`cloud.catalogs`; without, all is English.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "de": "Deutsch", "fr": "Français"}
"""What the portal speaks (BCP 47), each by the name that its own speakers give it."""
ENGLISH: Final = "en"
DECIMAL_COMMA: Final = frozenset({"de", "fr"})


class Catalog(Protocol):
    """Translations of one language, as ``gettext.NullTranslations`` gives them."""

    def gettext(self, message: str) -> str:
        """The text in this language, or the message itself."""

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """The text for this number."""


_catalogs: dict[str, Catalog] = {}
_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)


def learn(catalogs: Mapping[str, Catalog]) -> None:
    """From now on these languages are spoken beside English; those learnt before are forgotten."""
    _catalogs.clear()
    _catalogs.update(catalogs)


def spoken() -> str:
    """The language of the task that asks."""
    return _spoken.get()


def speak(language: str) -> None:
    """The rest of this task speaks ``language``; English where it is not one of :data:`LANGUAGES`."""
    _spoken.set(language if language in LANGUAGES else ENGLISH)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """What is said inside is said in ``language``: a mail to somebody else, for one."""
    token = _spoken.set(language if language in LANGUAGES else ENGLISH)
    try:
        yield
    finally:
        _spoken.reset(token)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for a mark
    """Mark a text of a table for translation; it is said by ``gettext`` where it is shown."""
    return message


def gettext(message: str, /, **values: object) -> str:
    """The text in the language that is spoken, ``{name}`` replaced by its value."""
    catalog = _catalogs.get(_spoken.get())
    text = message if catalog is None or not message else catalog.gettext(message)
    return text.format(**values) if values else text


def ngettext(one: str, many: str, count: int, /, **values: object) -> str:
    """The text for this number, ``{count}`` replaced by it and ``{name}`` by further values."""
    catalog = _catalogs.get(_spoken.get())
    text = (one if count == 1 else many) if catalog is None else catalog.ngettext(one, many, count)
    return text.format(count=count, **values)


def pointed(text: str) -> str:
    """A number in digits with the decimal point or comma of the language that is spoken."""
    return text.replace(".", ",") if _spoken.get() in DECIMAL_COMMA else text


def accepted(header: str) -> str:
    """The language of ours that an Accept-Language header likes best (RFC 9110 section 12.5.4)."""
    wishes = []
    for place, part in enumerate(header[:500].split(",")):
        tag, _, parameter = part.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES:
            wishes.append((-_quality(parameter), place, language))
    liked = min(wishes, default=(0.0, 0, ENGLISH))
    return liked[2] if liked[0] < 0 else ENGLISH


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        return min(1.0, max(0.0, float(value))) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0
