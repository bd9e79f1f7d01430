"""Labels in photos: what is read, what is not a photo, and what a photo may cost."""

import asyncio
import io
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cloud.services import label_photos, photo_reader
from cloud.services.label_photos import (
    MAX_EACH,
    MAX_TAKEN_IN,
    BusyError,
    LabelPhotos,
    PhotoError,
    PhotoFault,
    found_in,
)
from protocol.identity import qr_link
from tests.support.device import random_codes
from tests.support.photos import GREY, huge_jpeg, huge_png, jpeg, photo, png

URL = "https://portal.example.org"
LINKS = [qr_link(URL, *random_codes()) for _ in range(3)]
SMALL = jpeg(photo(LINKS[:1], scale=3, size=(240, 240)))


@pytest.mark.parametrize("tilt", [0.0, 17.0, 45.0, 90.0, 200.0])
@pytest.mark.parametrize("blur", [0.0, 2.5])
def test_tilted_and_blurred_labels_are_read(tilt: float, blur: float) -> None:
    assert photo_reader.read(jpeg(photo(LINKS[:1], tilt=tilt, blur=blur))) == LINKS[:1]


def test_three_labels_in_one_photo_of_a_telephone() -> None:
    picture = photo(LINKS, tilt=8, blur=2, scale=10, size=(4032, 3024))
    assert sorted(photo_reader.read(jpeg(picture))) == sorted(LINKS)
    below = photo(LINKS, scale=10, size=(500, 1600))
    assert photo_reader.read(png(below)) == LINKS  # from top to bottom


def test_a_dark_photo_and_one_with_colours_and_transparency() -> None:
    dark = photo(LINKS[:1]).point(lambda value: value // 6)
    assert photo_reader.read(jpeg(dark)) == LINKS[:1]
    assert photo_reader.read(png(photo(LINKS[:1]).convert("RGBA"))) == LINKS[:1]
    assert photo_reader.read(png(photo(LINKS[:1]).convert("P"))) == LINKS[:1]


def test_a_photo_without_a_code() -> None:
    assert photo_reader.read(jpeg(Image.new("L", (1280, 960), GREY))) == []


def as_gif(picture: Image.Image) -> bytes:
    """A format that is not taken."""
    file = io.BytesIO()
    picture.save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\xff\xd8\xff", SMALL[: len(SMALL) // 2], b"%PDF-1.7\n", as_gif(photo(LINKS[:1]))],
    ids=["nothing", "text", "mark", "half", "pdf", "gif"],
)
def test_what_is_no_photo(content: bytes) -> None:
    with pytest.raises(photo_reader.PhotoError, match="no_picture"):
        photo_reader.read(content)


@pytest.mark.parametrize(
    "bomb",
    [huge_png(60_000), huge_png(4_200), huge_jpeg(65_500), huge_jpeg(7_300)],
    ids=["png", "png, small", "jpeg", "jpeg, small"],
)
def test_a_decompression_bomb_is_not_unpacked(bomb: bytes) -> None:
    began_s = time.process_time()
    with pytest.raises(photo_reader.PhotoError, match="too_many_pixels"):
        photo_reader.read(bomb)
    assert time.process_time() - began_s < 0.2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400) | st.integers(0, len(SMALL) - 1).map(lambda at: SMALL[:at] + SMALL[at + 7 :]))
def test_no_file_is_a_fault_of_ours(content: bytes) -> None:
    try:
        texts = photo_reader.read(content)
    except photo_reader.PhotoError:
        return
    assert set(texts) <= {LINKS[0]}


async def test_the_process_finds_labels_and_tells_what_else_it_read() -> None:
    other = "WIFI:T:WPA;S:example;;"
    photos = LabelPhotos()
    found = await photos.search(jpeg(photo([LINKS[0], other, LINKS[1]])))
    assert [qr_link(URL, one.product_id, one.product_key) for one in found.labels] == LINKS[:2]
    assert found.others == (other,)
    with pytest.raises(PhotoError) as caught:
        await photos.search(b"nothing")
    assert caught.value.code is PhotoFault.NO_PICTURE


@pytest.mark.parametrize(
    "program",
    ["import signal; signal.pause()", "import os; os.abort()", "print('no json')"],
    ids=["endless", "crash", "babble"],
)
async def test_a_process_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(label_photos, "COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(label_photos, "TIME_S", 0.5)
    with pytest.raises(PhotoError) as caught:
        await LabelPhotos().search(SMALL)
    assert caught.value.code is PhotoFault.TOO_HARD


async def test_whoever_has_gone_leaves_no_process() -> None:
    photos = LabelPhotos()
    searching = asyncio.create_task(photos.search(SMALL))
    while not photos._searching.locked():
        await asyncio.sleep(0)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    assert (await photos.search(SMALL)).labels  # and the next one has its turn


def test_few_photos_are_here_at_once() -> None:
    photos = LabelPhotos()
    taken = [photos.admit(number // MAX_EACH) for number in range(MAX_TAKEN_IN)]
    for one in taken[:MAX_EACH]:
        one.__enter__()
    with pytest.raises(BusyError), photos.admit(0):
        pass
    for one in taken[MAX_EACH:]:
        one.__enter__()
    with pytest.raises(BusyError), photos.admit(99):
        pass
    for one in taken:
        one.__exit__(None, None, None)
    with photos.admit(0), photos.admit(0):
        pass


def test_a_label_that_is_there_twice_is_one() -> None:
    codes = LINKS[0].split("#")[1].split(".")
    found = found_in(f'{{"texts": ["{LINKS[0]}", "{" ".join(codes)}"]}}'.encode())
    assert len(found.labels) == 1
