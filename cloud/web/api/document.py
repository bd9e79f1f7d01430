"""The OpenAPI 3.1 document of all operations, made from the same declarations as their routes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from cloud.core.api_token import MEANINGS, Scope
from cloud.web.api import once
from cloud.web.api.kinds import ProblemDetails
from cloud.web.api.operation import JSON_TYPE, OCTETS, PREFIX, Operation, Section
from cloud.web.middleware import FORM_HEADER, sets_up_factor
from cloud.web.problems import KINDS, ProblemCode
from cloud.web.responses import PROBLEM_TYPE

JSON = dict[str, Any]

OPENAPI: Final = "3.1.0"
ABOUT: Final = (
    "What the pages do, for programs. Send an API token as `Authorization: Bearer …`; or log in with `POST "
    "/api/v1/session` and keep its cookie: then every request that is no GET carries the form token as "
    "`X-Form-Token`. Ids of devices are texts, times are unix "
    "milliseconds, and what goes wrong is `application/problem+json` whose `code` never changes its meaning."
)
KEY_TEXT: Final = (
    "Makes the request safe to send again: the same key with the same request gives the first answer once "
    "more, for a day. 1 to 255 characters."
)


def make(sections: Sequence[Section], brand: str, cookie: str) -> JSON:
    """The document."""
    operations = [one for section in sections for one in section.operations]
    schemas, components = _schemas(operations)
    paths: defaultdict[str, JSON] = defaultdict(dict)
    for one in operations:
        paths[PREFIX + one.path][one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": f"{brand} API",
            "version": version("smartconnect"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": section.tag, "description": section.meaning} for section in sections],
        "paths": dict(paths),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "The log-in.",
                },
                "form_token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": FORM_HEADER,
                    "description": "`GET /api/v1/form-token` tells it; it changes with each log-in.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token with the scope that is named, and with its owner's role: "
                    + " ".join(f"`{scope}`: {meaning}" for scope, meaning in MEANINGS.items()),
                },
            },
        },
    }


class _Schemas:
    """Type → its schema, a reference where it has a name."""

    def __init__(self, kinds: Sequence[Any], schemas: Sequence[JSON]) -> None:
        self._known = list(zip(kinds, schemas, strict=True))

    def of(self, kind: Any) -> JSON:
        return next(schema for known, schema in self._known if known is kind)


def _schemas(operations: Iterable[Operation]) -> tuple[_Schemas, JSON]:
    kinds: list[Any] = [ProblemDetails]
    for one in operations:
        kinds += [one.body, one.answer, *(parameter.kind for parameter in one.parameters)]
    kinds = [kind for kind in kinds if kind is not None]
    found, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return _Schemas(kinds, list(found)), components


def _operation(one: Operation, schemas: _Schemas) -> JSON:
    summary, _, text = (one.function.__doc__ or "").strip().partition("\n")
    described: JSON = {
        "operationId": one.name,
        "summary": summary.rstrip("."),
        "tags": [one.tag],
        "parameters": _parameters(one, schemas),
        "responses": _responses(one, schemas),
        "security": _security(one),
    }
    if text.strip():
        described["description"] = " ".join(text.split())
    if one.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas.of(one.body)}},
        }
    if one.upload:
        described["requestBody"] = {
            "required": True,
            "description": one.upload,
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    return described


def _security(one: Operation) -> list[JSON]:
    needed: JSON = {} if one.public else {"session": []}
    if one.method != "GET":
        needed["form_token"] = []
    if set(one.scopes) == set(Scope):
        return [needed, {"token": []}]
    return [needed, *({"token": [scope.value]} for scope in one.scopes)]


def _parameters(one: Operation, schemas: _Schemas) -> list[JSON]:
    described: list[JSON] = []
    for parameter in one.parameters:
        schema = dict(schemas.of(parameter.kind))
        needed = parameter.default is msgspec.NODEFAULT
        if not needed and parameter.default is not None:
            schema["default"] = msgspec.to_builtins(parameter.default)
        entry: JSON = {"name": parameter.name, "in": parameter.place, "required": needed, "schema": schema}
        if "description" in schema:
            entry["description"] = schema.pop("description")
        described.append(entry)
    if one.keeps_answers:
        described.append(
            {
                "name": once.HEADER,
                "in": "header",
                "required": False,
                "description": KEY_TEXT,
                "schema": {"type": "string", "minLength": 1, "maxLength": once.MAX_KEY_CHARS + 2},
            }
        )
    return described


def problems_of(one: Operation) -> list[ProblemCode]:
    """Every code this operation may answer with, its own first."""
    codes = [*one.problems, ProblemCode.DATABASE_UNAVAILABLE, ProblemCode.INTERNAL]
    if not one.public:
        codes += [ProblemCode.LOGIN_NEEDED, ProblemCode.TOKEN_INVALID, ProblemCode.PERSON_NEEDED]
        if sets_up_factor not in one.marks:
            codes.append(ProblemCode.FACTOR_REQUIRED)
    if one.scopes:
        codes.append(ProblemCode.SCOPE_NEEDED)
    if one.method != "GET":
        codes += [ProblemCode.CROSS_SITE, ProblemCode.FORM_EXPIRED, ProblemCode.BAD_REQUEST]
    if one.body is not None:
        codes += [ProblemCode.BAD_REQUEST, ProblemCode.TOO_LARGE]
    if any(parameter.place == "path" for parameter in one.parameters):
        codes.append(ProblemCode.NOT_FOUND)
    if any(parameter.place == "query" for parameter in one.parameters):
        codes.append(ProblemCode.BAD_REQUEST)
    if one.keeps_answers:
        codes += [ProblemCode.BAD_REQUEST, ProblemCode.KEY_REUSED, ProblemCode.KEY_IN_USE]
    return list(dict.fromkeys(codes))


def _responses(one: Operation, schemas: _Schemas) -> JSON:
    responses: dict[str, JSON] = {}
    for status, meaning in one.statuses.items():
        entry: JSON = {"description": meaning}
        if one.answer is not None:
            entry["content"] = {
                kind: {"schema": schemas.of(one.answer) if kind == JSON_TYPE else {"type": "string"}}
                for kind in one.media
            }
        if one.keeps_answers:
            entry["headers"] = {
                once.REPLAYED: {
                    "description": "true where the answer was given before.",
                    "schema": {"type": "string", "enum": ["true"]},
                }
            }
        responses[str(status.value)] = entry
    by_status: defaultdict[int, list[ProblemCode]] = defaultdict(list)
    for code in problems_of(one):
        by_status[KINDS[code].status.value].append(code)
    for number, codes in sorted(by_status.items()):
        meaning = "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes)
        content = {PROBLEM_TYPE: {"schema": schemas.of(ProblemDetails)}}
        entry = responses.setdefault(str(number), {"description": "", "content": {}})
        entry["description"] = f"{entry['description']} {meaning}".strip()
        entry.setdefault("content", {}).update(content)
        if any(code in _LATER for code in codes):
            entry.setdefault("headers", {})["Retry-After"] = {
                "description": "Seconds after which it makes sense to ask again.",
                "schema": {"type": "integer", "minimum": 0},
            }
    return responses


_LATER: Final = frozenset(
    {
        ProblemCode.TOO_MANY,
        ProblemCode.BUSY,
        ProblemCode.WORK_NEEDED,
        ProblemCode.DATABASE_UNAVAILABLE,
        ProblemCode.KEY_IN_USE,
    }
)
