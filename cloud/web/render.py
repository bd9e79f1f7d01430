"""Jinja2 templates with autoescape."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from cloud import catalogs
from cloud.core import language
from cloud.core.location import WITHOUT_STATES
from cloud.core.sign_up import NOT_APPLICABLE
from cloud.web import wording
from cloud.web.assets import built, static_url

HERE: Final = Path(__file__).parent
TEMPLATES: Final = HERE / "templates"
BRAND: Final = "SmartConnect"


class Pages:
    """Renders templates by name; compiled once a process."""

    def __init__(self, brand: str = BRAND) -> None:
        self._environment = _environment(brand)

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """The text of a template."""
        return self._environment.get_template(template).render(context)


@lru_cache(maxsize=4)
def _environment(brand: str) -> jinja2.Environment:
    """The templates of a brand."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # of the extension
        language.gettext, language.ngettext, newstyle=True
    )
    environment.globals.update(
        brand=brand,
        languages=language.LANGUAGES,
        spoken=language.spoken,
        browser_words=browser_words,
        words=wording.brand_words(brand),
        static=static_url,
        built=built,
        icon=icon,
        without_states=" ".join(sorted(WITHOUT_STATES)),
        not_applicable=NOT_APPLICABLE,
    )
    environment.filters.update(
        iso=wording.iso,
        ago=wording.ago,
        clock=wording.clock,
        span=wording.span,
        number=wording.number,
        linked=wording.linked,
        browser=wording.browser,
        said=language.gettext,
    )
    return environment


def browser_words() -> Markup:
    """What scripts say in the language that is spoken, as JSON for an element of a page; "" for English."""
    return Markup(catalogs.browser_words(language.spoken()))  # noqa: S704 - JSON without a "<"


@lru_cache(maxsize=64)
def icon(name: str) -> Markup:
    """An inline SVG of ``templates/icons``; decoration only, a word always stands beside it."""
    text = (TEMPLATES / "icons" / f"{name}.svg").read_text(encoding="utf-8").strip()
    return Markup(text)  # noqa: S704 - our own files
