"""The OpenAPI document: valid, complete, and open to everybody."""

import json
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from cloud.web.api.operation import PREFIX
from cloud.web.api.routes import SECTIONS
from cloud.web.problems import ProblemCode
from tests.support.portal import Portal, Visitor

JSON = dict[str, Any]
UNDESCRIBED = {f"{PREFIX}/openapi.json"}


async def document(stranger: Visitor) -> JSON:
    """As it is served."""
    answer = await stranger.get(f"{PREFIX}/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    found: JSON = json.loads(answer.text)
    return found


async def test_it_is_valid_openapi_3_1_and_needs_no_log_in(stranger: Visitor) -> None:
    found = await document(stranger)
    assert found["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(found).validate()


async def test_every_route_of_the_api_is_described(portal: Portal, stranger: Visitor) -> None:
    paths = (await document(stranger))["paths"]
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in portal.app.router.routes()
        if route.resource is not None
        and route.resource.canonical.startswith(f"{PREFIX}/")
        and route.method != "HEAD"
    }
    described = {(method, path) for path, methods in paths.items() for method in methods}
    assert described <= served
    assert {path for _, path in served - described} <= UNDESCRIBED


async def test_operations_say_what_they_do_need_and_may_answer(stranger: Visitor) -> None:
    found = await document(stranger)
    names = [one["operationId"] for methods in found["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names)) == sum(len(section.operations) for section in SECTIONS)
    for path, methods in found["paths"].items():
        for method, one in methods.items():
            assert one["summary"], path
            assert {"503", "500"} < set(one["responses"]), path
            security, *by_token = one["security"]
            assert ("form_token" in security) == (method != "get"), path
            assert all(set(other) == {"token"} for other in by_token), path
            assert ("session" in security) >= bool(by_token), path
            assert ("`scope_needed`" in one["responses"].get("403", {}).get("description", "")) == bool(
                by_token
            ), path
            assert ("401" in one["responses"]) >= ("session" in security), path
            keyed = any(parameter["name"] == "Idempotency-Key" for parameter in one["parameters"])
            tells_secret = one["operationId"] in {
                "api_tokens.make_token",
                "notifications.add_channel",
                "label_photos.read_labels",
            }
            assert keyed == (method == "post" and "session" in security and not tells_secret), path
            assert ("requestBody" in one) <= (method != "get"), path


async def test_problem_codes_are_listed(stranger: Visitor) -> None:
    found = await document(stranger)
    problem = found["components"]["schemas"]["ProblemDetails"]
    codes = found["components"]["schemas"]["ProblemCode"]
    assert problem["properties"]["code"]["$ref"].endswith("/ProblemCode")
    assert codes["enum"] == sorted(ProblemCode)
    claim = found["paths"][f"{PREFIX}/claims"]["post"]["responses"]
    assert "`work_needed`" in claim["429"]["description"]
    assert set(claim["409"]["content"]) == {"application/json", "application/problem+json"}


async def test_tokens_need_the_scope_of_their_subject(stranger: Visitor) -> None:
    paths = (await document(stranger))["paths"]

    def scopes(method: str, path: str) -> list[str]:
        alternatives = paths[PREFIX + path][method]["security"][1:]
        return [scope for one in alternatives for scope in one["token"]]

    assert scopes("get", "/devices") == ["devices:read"]
    assert scopes("patch", "/devices/{device_id}/settings") == ["devices:write"]
    assert scopes("post", "/devices/{device_id}/commands") == ["control"]
    assert scopes("get", "/metrics") == ["metrics:read"]
    assert scopes("put", "/company") == ["company:write"]
    assert scopes("get", "/company/audit") == ["audit:read"]
    assert scopes("post", "/claims") == ["claims"]
    assert scopes("get", "/systems/{number}") == ["systems:read"]
    assert scopes("put", "/systems/{number}/data") == ["systems:write"]
    personal = {
        (method, path.removeprefix(PREFIX))
        for path, methods in paths.items()
        for method, one in methods.items()
        if len(one["security"]) == 1 and "session" in one["security"][0]
    }
    assert {
        ("post", "/tokens"),
        ("post", "/account/deletion"),
        ("put", "/account/password"),
        ("post", "/session/proof"),
        ("post", "/devices/{device_id}/release"),
        ("post", "/offers/accept"),
    } <= personal
    assert paths[f"{PREFIX}/token"]["get"]["security"][1:] == [{"token": []}]
