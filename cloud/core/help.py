"""The help pages, and what people say of them: 1 to 5 and a few words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cloud.core.account import AccountError
from cloud.core.language import N_, gettext

RATINGS: Final = range(1, 6)
COMMENT_MAX_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class HelpPage:
    """A page at ``/help/`` and its name there; ``title`` and ``about`` are said with ``gettext``."""

    name: str
    title: str
    about: str

    @property
    def path(self) -> str:
        """Where it is."""
        return f"/help/{self.name}"


HELP_PAGES: Final[Mapping[str, HelpPage]] = {
    page.name: page
    for page in (
        HelpPage(
            "adding-your-device",
            N_("Adding your device: issues"),
            N_("What the page of your UPS says while you register it, and what to do."),
        ),
        HelpPage(
            "camera",
            N_("Camera help"),
            N_("Where each browser keeps its answer to the scanner, and what else helps."),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one account says of one page. ``rating`` in ``RATINGS``; ``comment`` may be empty."""

    rating: int
    comment: str


def check_opinion(rating: str, comment: str) -> Opinion:
    """An opinion as it was typed. AccountError names the field."""
    if rating not in {str(number) for number in RATINGS}:
        raise AccountError(
            "rating",
            gettext("Please choose a number from {first} to {last}.", first=RATINGS[0], last=RATINGS[-1]),
        )
    text = "\n".join(
        "".join(char for char in line if char.isprintable()) for line in comment.strip().splitlines()
    )
    if len(text) > COMMENT_MAX_CHARS:
        raise AccountError(
            "comment", gettext("Please use at most {count} characters.", count=COMMENT_MAX_CHARS)
        )
    return Opinion(int(rating), text)
