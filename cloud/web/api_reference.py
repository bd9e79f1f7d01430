"""The API's document as its pages show it: operations with what they need, take and answer.

Everything is taken from the OpenAPI document, so the pages can say nothing that it does not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

JSON = Mapping[str, Any]

MAX_DEPTH: Final = 4
"""Fields of fields are shown so deep."""


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a part of a body or an answer."""

    name: str
    kind: str
    required: bool
    meaning: str
    values: Sequence[str] = ()
    default: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation may answer."""

    status: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An operation."""

    name: str
    tag: str
    method: str
    path: str
    summary: str
    text: str
    scopes: Sequence[str]
    """A token needs one of these; ``any`` where each will do, none where a token will not."""
    needs_log_in: bool
    parameters: Sequence[Field]
    body: Sequence[Field]
    example: str
    upload: str
    """What the file is that it takes as its body; empty where it takes none."""
    answer: Sequence[Field]
    answers: Sequence[Answer]

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing, so that a plain link can ask it."""
        return self.method == "GET"

    def holds(self, words: str) -> bool:
        """Whether it is about all of these words."""
        text = f"{self.name} {self.tag} {self.method} {self.path} {self.summary}".casefold()
        return all(word in text for word in words.casefold().split())


@dataclass(frozen=True, slots=True)
class Reference:
    """All of it: subjects with their meaning, and operations by name in the document's order."""

    subjects: Sequence[tuple[str, str]]
    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, document: JSON) -> "Reference":
        """From the OpenAPI document."""
        found = [
            _entry(method, path, operation, document)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        subjects = [(tag["name"], tag["description"]) for tag in document["tags"]]
        return cls(subjects, {entry.name: entry for entry in found})

    def matching(self, words: str) -> list[tuple[str, str, list[Entry]]]:
        """Subjects with those of their operations that are about these words; no empty ones."""
        found = [
            (tag, meaning, [one for one in self.entries.values() if one.tag == tag and one.holds(words)])
            for tag, meaning in self.subjects
        ]
        return [subject for subject in found if subject[2]]


def _entry(method: str, path: str, operation: JSON, document: JSON) -> Entry:
    schemas = document["components"]["schemas"]
    body = _schema_of(operation.get("requestBody"))
    usual = next(iter(operation["responses"].values()))
    security: Sequence[JSON] = operation["security"]
    return Entry(
        name=operation["operationId"],
        tag=operation["tags"][0],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        text=operation.get("description", ""),
        scopes=tuple(scope for one in security if "token" in one for scope in (one["token"] or ("any",))),
        needs_log_in=any("session" in one for one in security),
        parameters=[_parameter(one, schemas) for one in operation["parameters"]],
        body=list(_fields(body, schemas)) if body else (),
        example=json.dumps(_example(body, schemas), indent=2, ensure_ascii=False) if body else "",
        upload=operation.get("requestBody", {}).get("description", ""),
        answer=list(_fields(_schema_of(usual) or {}, schemas)),
        answers=[Answer(status, one["description"]) for status, one in operation["responses"].items()],
    )


def _schema_of(part: JSON | None) -> JSON | None:
    found: JSON | None = (part or {}).get("content", {}).get("application/json", {}).get("schema")
    return found


def _parameter(one: JSON, schemas: JSON) -> Field:
    schema = _resolved(one["schema"], schemas)
    return Field(
        name=one["name"],
        kind=_kind(schema, schemas),
        required=one["required"],
        meaning=one.get("description", ""),
        values=[str(value) for value in schema.get("enum", ())],
        default=str(one["schema"].get("default", "")),
        place=one["in"],
    )


def _resolved(schema: JSON, schemas: JSON) -> JSON:
    """A schema itself, and of one that may be null the other one."""
    while True:
        choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if "$ref" in schema:
            schema = {**schemas[schema["$ref"].rpartition("/")[2]], **_without_ref(schema)}
        elif len(choices) == 1:
            schema = {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
        else:
            return schema


def _without_ref(schema: JSON) -> JSON:
    return {key: value for key, value in schema.items() if key != "$ref"}


def _kind(schema: JSON, schemas: JSON) -> str:
    """The type for people."""
    schema = _resolved(schema, schemas)
    if "enum" in schema:
        return "one of"
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_kind(items, schemas)}" if isinstance(items, Mapping) else "list"
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _fields(schema: JSON, schemas: JSON, prefix: str = "", depth: int = 0) -> Iterator[Field]:
    """The fields of an object and of what is in it, as in ``devices[].name``."""
    schema = _resolved(schema, schemas)
    needed = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        found = _resolved(part, schemas)
        yield Field(
            name=prefix + name,
            kind=_kind(found, schemas),
            required=name in needed,
            meaning=str(part.get("description", "") or found.get("description", "")),
            values=[str(value) for value in found.get("enum", ())],
        )
        inner, mark = found, "."
        while isinstance(inner.get("items"), Mapping):
            inner, mark = _resolved(inner["items"], schemas), "[]" + mark
        if depth < MAX_DEPTH:
            yield from _fields(inner, schemas, f"{prefix}{name}{mark}", depth + 1)


def _example(schema: JSON, schemas: JSON, depth: int = 0) -> Any:
    """A body to begin with: its needed fields, each with the least that it may hold."""
    schema = _resolved(schema, schemas)
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        needed = schema.get("required") or list(schema.get("properties", ()))
        if depth >= MAX_DEPTH:
            return {}
        return {name: _example(schema["properties"][name], schemas, depth + 1) for name in needed}
    if kind == "integer":
        return schema.get("minimum", 0)
    return {"array": [], "number": 0.0, "boolean": False, "null": None}.get(str(kind), "")
