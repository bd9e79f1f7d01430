"""The scanner's page and photos of labels, over HTTP: as a browser without JavaScript sends them."""

import html
import io
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from cloud.services.label_photos import MAX_BYTES, MAX_EACH
from cloud.web.middleware import CONTENT_SECURITY_POLICY
from cloud.web.scan_views import PHOTOS
from protocol.identity import ProductId, ProductKey, qr_link
from tests.cloud.web.conftest import Somebody
from tests.support.device import random_codes
from tests.support.photos import huge_png, jpeg, photo
from tests.support.portal import Answer, Portal, Visitor, labelled_device, now_ms


def form(token: str, *files: bytes, last: bool = False) -> aiohttp.FormData:
    """The form of the page; ``last``: with the token behind the photo."""
    data = aiohttp.FormData()
    if not last:
        data.add_field("form_token", token)
    for content in files:
        data.add_field(
            "photo", content, filename="IMG_0001.jpg" if content else "", content_type="image/jpeg"
        )
    if last:
        data.add_field("form_token", token)
    return data


async def send(browser: Visitor, *files: bytes) -> Answer:
    """Send photos with the page's form."""
    await browser.get("/add/scan")
    return await browser.ask("POST", "/add/photo", data=form(browser.form_token, *files))


def picture(*codes: tuple[ProductId, ProductKey]) -> bytes:
    """A photo of these labels."""
    return jpeg(photo([qr_link("https://portal.example.org", *one) for one in codes], tilt=5, blur=1.5))


def values(page: str, name: str) -> list[str]:
    """What the fields of this name hold."""
    return [html.unescape(one) for one in re.findall(rf'name="{name}"[^>]*? value="([^"]*)"', page)]


async def test_camera_and_webassembly_are_allowed_on_this_page_only(ada: Somebody) -> None:
    page = await ada.browser.get("/add/scan")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy
    assert policy.replace(" 'wasm-unsafe-eval'", "") == CONTENT_SECURITY_POLICY
    assert "camera=(self)" in page.headers["Permissions-Policy"]
    for path in ("/add", "/add/codes", "/r", "/help/camera", "/devices"):
        other = await ada.browser.get(path)
        assert other.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY, path
        assert "camera=()" in other.headers["Permissions-Policy"], path


async def test_the_seeds_words_lead_to_the_scanner(ada: Somebody) -> None:
    ways = (await ada.browser.get("/add")).text
    assert "QR Code Scan" in ways
    assert 'href="/add/scan"' in ways
    page = (await ada.browser.get("/add/scan")).text
    for words in (
        "Scan QR Code",
        "allow access to your device’s camera",
        "may be on the front, side, or rear of your UPS",
        "Ensure that your mobile device’s battery is sufficiently charged",
        "Select a camera",
        "cannot be associated with another Schneider Electric account. See",
        "Adding your Device Issues",
        "You need not wait after connecting your UPS",
        'href="/help/camera"',
    ):
        assert words in page, words


async def test_one_label_fills_in_the_form_and_it_registers(portal: Portal, ada: Somebody) -> None:
    device, product_key = labelled_device()
    await device.announce(portal.pool, now_ms())
    page = await send(ada.browser, picture((device.product_id, ProductKey.parse(product_key))))
    assert page.status == 200
    assert "<h1>Register UPS</h1>" in page.text
    assert values(page.text, "product_id") == [device.product_id.value]
    assert values(page.text, "product_key") == [product_key]
    assert page.headers["Cache-Control"] == "no-store"
    codes = {"product_id": device.product_id.value, "product_key": product_key}
    taken = await ada.browser.post("/add/codes", codes)
    assert "This UPS is yours" in (await ada.browser.get(taken.headers["Location"])).text


async def test_of_several_labels_those_that_were_picked_are_taken(ada: Somebody) -> None:
    labels = [random_codes() for _ in range(3)]
    page = await send(ada.browser, picture(*labels))
    assert "3 labels were read" in page.text
    lines = values(page.text, "list")
    assert set(lines) == {f"{one.value},{key.value}" for one, key in labels}
    chosen = [("form_token", ada.browser.form_token), *(("list", line) for line in lines[:2])]
    taken = await ada.browser.ask("POST", "/add/bulk", data=chosen)
    assert taken.status == 303
    result = await ada.browser.get(f"{taken.headers['Location']}/result.csv")
    told = [line.split(",")[1] for line in result.text.splitlines()[1:]]
    assert told == [line.split(",", maxsplit=1)[0] for line in lines[:2]]


async def test_the_last_chosen_photo_counts_and_the_other_field_may_be_empty(ada: Somebody) -> None:
    label = random_codes()
    for files in ((b"", picture(label)), (picture(label), b"")):
        page = await send(ada.browser, *files)
        assert values(page.text, "product_id") == [label[0].value]


async def test_what_is_wrong_with_a_photo_is_said(ada: Somebody) -> None:
    for content, said in (
        (b"", "Please take a photo of the label, or choose one."),
        (b"hello", "This file is not a picture that can be read here."),
        (huge_png(60_000), "This picture has too many pixels."),
        (jpeg(photo([])), "No QR code was found in this photo."),
        (jpeg(photo(["https://example.org/<b>manual"])), "https://example.org/&lt;b&gt;manual"),
    ):
        page = await send(ada.browser, content)
        assert page.status == 422
        assert said in page.text
        assert "/add/codes" in page.text
        assert "'wasm-unsafe-eval'" in page.headers["Content-Security-Policy"]


async def test_twenty_megabytes_are_refused(portal: Portal, ada: Somebody) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n{ada.browser.form_token}\r\n'
    head += '--x\r\nContent-Disposition: form-data; name="photo"; filename="IMG_0001.jpg"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}

    async def in_pieces() -> AsyncIterator[bytes]:
        yield head.encode()
        for _ in range(20):
            yield bytes(1_000_000)

    told_before = io.BytesIO(head.encode() + bytes(20_000_000))
    for data in (told_before, in_pieces()):  # with and without a Content-Length
        page = await ada.browser.ask("POST", "/add/photo", data=data, headers=kind)
        assert page.status == 413
        assert f"A photo has {MAX_BYTES >> 20} MB at most." in page.text
    places = [portal.app[PHOTOS].admit(ada.actor.account_id) for _ in range(MAX_EACH)]
    for place in places:
        place.__enter__()  # those of what was refused are free again
    await ada.browser.http.close()  # the rest of what was on its way will not come


async def test_the_form_token_comes_first_and_is_right(ada: Somebody) -> None:
    content = picture(random_codes())
    await ada.browser.get("/add/scan")
    token = ada.browser.form_token
    for data in (form("wrong", content), form(token, content, last=True), form("wrong"), aiohttp.FormData()):
        answer = await ada.browser.ask("POST", "/add/photo", data=data)
        assert answer.status in {400, 403}
        assert "Product ID" not in answer.text
    cross = {"Origin": "https://elsewhere.example.org"}
    answer = await ada.browser.ask("POST", "/add/photo", data=form(token, content), headers=cross)
    assert answer.status == 403


MALFORMED = (
    b"",
    b"--x\r\n",
    b"--x\r\nContent-Disposition: form-data\r\n\r\n",
    b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n\xff\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\nContent-Encoding: gzip\r\n\r\nz',
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 20 + b"--x--\r\n",
)
"""Nothing, cut short, nameless, nested, no text, packed, too many parts."""


async def test_a_malformed_form_is_the_senders_fault(ada: Somebody) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in MALFORMED:
        for headers in (kind, {**kind, "X-Form-Token": ada.browser.form_token}):
            answer = await ada.browser.ask("POST", "/add/photo", data=body, headers=headers)
            assert answer.status in {400, 403, 422}, body


async def test_somebody_with_many_photos_waits(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    photos, content = portal.app[PHOTOS], picture(random_codes())
    places = [photos.admit(ada.actor.account_id) for _ in range(MAX_EACH)]
    for place in places:
        place.__enter__()
    answer = await send(ada.browser, content)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
    assert (await send(eve.browser, content)).status == 200
    for place in places:
        place.__exit__(None, None, None)
    assert (await send(ada.browser, content)).status == 200


async def test_a_viewer_may_not(portal: Portal, ada: Somebody) -> None:
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = 'viewer'")
    assert (await ada.browser.get("/add/scan")).status == 403
    assert (await send(ada.browser, picture(random_codes()))).status == 403


async def test_whoever_is_logged_out_is_led_back(stranger: Visitor) -> None:
    page = await stranger.get("/add/scan")
    assert page.headers["Location"] == "/login?next=/add/scan"
    for path, back in (("/add/photo", "/login?next=/add/scan"), ("/add/codes", "/login?next=/r")):
        answer = await stranger.ask("POST", path, data=form(stranger.form_token, b"x"))
        assert answer.status == 401
        assert f'href="{back}"' in answer.text
    assert "FA408179" in (await stranger.get("/help/camera")).text


async def test_no_key_of_a_photo_is_logged(ada: Somebody, capsys: pytest.CaptureFixture[str]) -> None:
    label = random_codes()
    assert (await send(ada.browser, picture(label))).status == 200
    said = capsys.readouterr()
    assert label[1].value not in said.out + said.err
