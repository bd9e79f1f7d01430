"""The pages of the API: made from its document, open to everybody, and a way to try what they describe."""

import json
from html import unescape

import msgspec
import pytest

from cloud.web.api import routes
from cloud.web.api.operation import PREFIX
from cloud.web.api_reference import Reference
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Portal, Visitor


@pytest.fixture(scope="module")
def reference() -> Reference:
    """What the document says."""
    return Reference.of(msgspec.json.decode(routes.document_of("SmartConnect", "cookie")))


def test_every_operation_has_an_entry_whose_example_is_a_body(reference: Reference) -> None:
    operations = [one for section in routes.SECTIONS for one in section.operations]
    assert set(reference.entries) == {one.name for one in operations}
    for one in operations:
        entry = reference.entries[one.name]
        assert (entry.method, entry.path) == (one.method, PREFIX + one.path)
        assert entry.needs_log_in == (not one.public)
        assert [field.name for field in entry.body if "." not in field.name and "[" not in field.name] == (
            list(one.body.__struct_encode_fields__) if one.body is not None else []
        )
        if one.body is not None:
            assert isinstance(json.loads(entry.example), dict), one.name


def test_entries_name_their_scopes(reference: Reference) -> None:
    assert reference.entries["devices.list_devices"].scopes == ("devices:read",)
    assert reference.entries["api_tokens.make_token"].scopes == ()
    assert reference.entries["api_tokens.show_token"].scopes == ("any",)


def test_fields_of_fields_are_named_by_their_way(reference: Reference) -> None:
    fields = {field.name: field for field in reference.entries["devices.list_devices"].answer}
    assert fields["devices[].device_id"].kind == "string"
    assert "on_battery" in fields["devices[].condition"].values


async def test_the_list_and_what_is_searched(reference: Reference, stranger: Visitor) -> None:
    page = await stranger.get("/api")
    assert page.status == 200
    for name in reference.entries:
        assert f'href="/api/operations/{name}"' in page.text
    found = (await stranger.get("/api?q=Calibration+SCHEDULE")).text
    assert found.count('href="/api/operations/') == 3
    nothing = (await stranger.get("/api?q=%3Cscript%3E")).text
    assert "No operation is about “&lt;script&gt;”." in nothing


async def test_every_operation_has_a_page(reference: Reference, stranger: Visitor) -> None:
    for name, entry in reference.entries.items():
        page = await stranger.get(f"/api/operations/{name}")
        assert page.status == 200, name
        assert unescape(page.text).count(entry.path) >= 2, name
        for field in entry.parameters:
            assert f'name="{field.name}"' in page.text, (name, field.name)
    for name in ("nothing", "devices.nothing", "x" * 300):
        page = await stranger.get(f"/api/operations/{name}", Accept="text/html")
        assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_a_form_without_javascript_leads_to_the_operation(
    portal: Portal, ada: Somebody, stranger: Visitor
) -> None:
    owned = await portal.own_device(ada.actor)
    asked = f"/api/try?operation=outages.list_outages&device_id={owned.device_id}&before_ms=600"
    answer = await ada.browser.get(asked)
    assert answer.status == 303
    assert answer.headers["Location"] == f"/api/v1/devices/{owned.device_id}/outages?before_ms=600"
    assert (await ada.browser.get(answer.headers["Location"])).status == 200
    for odd in ("..%2F..%2Faccount", "%2F%2Fevil.example.org", "", "%3Fx%3D1"):
        led = await stranger.get(f"/api/try?operation=devices.show_device&device_id={odd}")
        where = led.headers["Location"]
        assert where.startswith("/api/v1/devices/")
        assert not {"/", "?"} & set(where.removeprefix("/api/v1/devices/")), where
    for name, status in (("session.log_out", 405), ("nothing", 404), ("", 404)):
        assert (await stranger.get(f"/api/try?operation={name}")).status == status


async def test_the_pages_hold_no_secret_in_an_address(ada: Somebody) -> None:
    page = (await ada.browser.get("/api/operations/devices.list_devices")).text
    assert 'id="api-token"' in page
    assert "name=" not in page.split('id="api-token"', 1)[1].split(">", 1)[0]
