"""Pictures of pages for docs/screens: phone and desktop, light and dark, as small files."""

import io
from pathlib import Path
from typing import Any, Final, Literal

from PIL import Image, ImageChops, ImageStat
from playwright.async_api import Page

SIZES: Final[dict[str, dict[str, Any]]] = {
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
    "desktop": {"viewport": {"width": 1280, "height": 900}},
}
"""The first is that of a test which looks at its pages in all of them."""
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS: Final = {"phone": 340, "desktop": 760}
"""Pixels of a kept picture."""
TALLEST: Final = 1800
QUALITY: Final = 45
SAME: Final = 2.0
"""Mean difference, of 255, up to which a picture shows the same: another time of day, another name."""


async def take(page: Page, name: str, folder: Path) -> None:
    """Pictures of this page as it is, in all sizes and both colour schemes; its size is as before."""
    before = page.viewport_size
    for size, options in SIZES.items():
        await page.set_viewport_size(options["viewport"])
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            taken = await page.screenshot(full_page=True, animations="disabled")
            _keep(taken, WIDTHS[size], folder / f"{name}-{size}-{scheme}.webp")
    await page.emulate_media(color_scheme="null")
    if before is not None:
        await page.set_viewport_size(before)


def _keep(taken: bytes, width: int, path: Path) -> None:
    """Write a picture, unless the one that is there shows the same."""
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    height = round(picture.height * width / picture.width)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS).crop(
        (0, 0, width, min(height, TALLEST))
    )
    if path.is_file():
        with Image.open(path) as old:
            if old.size == picture.size:
                differing = ImageStat.Stat(ImageChops.difference(old.convert("RGB"), picture)).mean
                if max(differing) <= SAME:
                    return
    picture.save(path, "WEBP", quality=QUALITY, method=6)
