"""Which privacy notice people accept: the words of the page ``privacy.html``. Other words are a new version.

What an account has accepted, and when, is kept with it; so it is known who has read which words.
"""

from collections.abc import Mapping
from typing import Final

PRIVACY_VERSION: Final = "2026-11-21"
"""The notice that is shown now: the day from which it says what it says."""
WORDS_OF: Final[Mapping[str, str]] = {
    "2026-11-21": "5947bec03f14117e996d06c1aa9fa70a2d459ee596bdb540e0c55bb9015a1c7c"
}
"""Version → SHA-256 of its English words with the default brand. Append only: a new text is a new version."""
