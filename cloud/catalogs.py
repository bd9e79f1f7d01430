"""Catalogues of translations: ``cloud/languages/LANGUAGE/LC_MESSAGES/portal.po``, compiled when the project
is built (:mod:`build_assets`), read when a process starts.
"""

import gettext
import json
from functools import lru_cache
from pathlib import Path
from typing import Final

from cloud.core import language

FOLDER: Final = Path(__file__).parent / "languages"
DOMAIN: Final = "portal"


def load() -> None:
    """Learn every language whose catalogue is there; English needs none."""
    found = {}
    for name in language.LANGUAGES:
        if gettext.find(DOMAIN, FOLDER, [name]) is not None:
            found[name] = gettext.translation(DOMAIN, FOLDER, [name])
    language.learn(found)


@lru_cache(maxsize=len(language.LANGUAGES))
def browser_words(name: str) -> str:
    """What the portal's scripts say, as JSON: message → text, or texts of one and many; "" for English."""
    path = FOLDER / name / "browser.json"
    if name == language.ENGLISH or not path.is_file():
        return ""
    words = json.loads(path.read_text(encoding="utf-8"))
    return json.dumps(words, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
