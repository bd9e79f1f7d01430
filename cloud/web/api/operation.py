"""One operation of the API from one typed function: its route, its checks, its part of the OpenAPI document.

A function ``async def show(request, device_id: DeviceId, range_s: Range = 3600) -> History`` names a path
parameter if the path has it, else a query parameter; ``body`` is the JSON object that is sent. Types are
those of msgspec: they check what comes in and describe it in the document. What a function returns is its
answer; ``Reply`` gives it another status than the usual one, ``None`` is "done, nothing to tell" (204).

Errors that services raise on purpose become problems with stable codes (:mod:`cloud.web.api.failures`).
What was sent is never quoted back: it may be a secret.
"""

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

import msgspec
from aiohttp import web

from cloud.core.api_token import Scope
from cloud.web import bearer
from cloud.web.api import once
from cloud.web.api.failures import translated
from cloud.web.middleware import Handler, public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import SETTINGS

PREFIX: Final = "/api/v1"
JSON_TYPE: Final = "application/json"
OCTETS: Final = "application/octet-stream"
MAX_BODY_BYTES: Final = 16 * 1024
PERSON: Final[tuple[Scope, ...]] = ()
"""The scope of what only somebody who is logged in may do."""

_PLACEHOLDER: Final = re.compile(r"{(\w+)}")
_PLACE: Final = re.compile(r" - at `\$?\.?([^`]*)`$")
_UNKNOWN: Final = re.compile(r"^Invalid enum value .*$", re.DOTALL)

Function = Callable[..., Awaitable[Any]]
Mark = Callable[[Handler], Handler]
"""Tells middlewares something about a handler."""
F = TypeVar("F", bound=Function)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer with a status of its own."""

    content: T
    status: HTTPStatus


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path or query parameter."""

    name: str
    place: str
    kind: Any
    default: object = msgspec.NODEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one method of one path does."""

    method: str
    path: str
    function: Function
    parameters: tuple[Parameter, ...]
    body: Any
    answer: Any
    statuses: Mapping[HTTPStatus, str]
    problems: tuple[ProblemCode, ...]
    public: bool
    scopes: tuple[Scope, ...]
    """A token needs one of these; with none, no token will do."""
    has_secret: bool
    tag: str
    max_bytes: int
    marks: tuple[Mark, ...]
    media: tuple[str, ...]
    upload: str
    """What the body is that the function reads by itself, where it is no JSON."""

    @property
    def name(self) -> str:
        """Its name in the document."""
        return f"{self.tag.lower().replace(' ', '_')}.{self.function.__name__}"

    @property
    def status(self) -> HTTPStatus:
        """The usual one."""
        return next(iter(self.statuses))

    @property
    def keeps_answers(self) -> bool:
        """Whether an Idempotency-Key means something here: without an account answers are kept for nobody,
        and secrets are never kept.
        """
        return self.method == "POST" and not self.public and not self.has_secret


@dataclass(slots=True)
class Section:
    """The operations of one subject. ``reads`` and ``writes``: what a token needs for those that say nothing
    of their own; without one they need somebody who is logged in.
    """

    tag: str
    meaning: str
    operations: list[Operation] = field(default_factory=list)
    reads: Scope | None = None
    writes: Scope | None = None

    def operation(
        self,
        method: str,
        path: str,
        *,
        statuses: Mapping[HTTPStatus, str] | None = None,
        problems: Sequence[ProblemCode] = (),
        answer: Any = None,
        is_public: bool = False,
        scope: Scope | Sequence[Scope] | None = None,
        has_secret: bool = False,
        max_bytes: int = MAX_BODY_BYTES,
        marks: Sequence[Mark] = (),
        media: Sequence[str] = (JSON_TYPE,),
        upload: str = "",
    ) -> Callable[[F], F]:
        """Register a function. ``statuses``: meaning of each status it answers with, the usual one first;
        ``problems``: what may go wrong beside what always may; ``answer``: type, where the function makes the
        response itself; ``marks``: for its handler; ``media``: types of an answer that may be long, and is
        therefore not given to HEAD; ``scope``: which one a token needs, if not the section's; any of several,
        or ``PERSON``; ``has_secret``: the answer must not be kept; ``upload``: what the body is that the
        function reads by itself, within its own bounds.
        """
        usual_scope = self.reads if method == "GET" else self.writes
        needed = usual_scope if scope is None else scope
        scopes = (needed,) if isinstance(needed, Scope) else tuple(needed or ())

        def register(function: F) -> F:
            hints = typing.get_type_hints(function, include_extras=True)
            returned = hints["return"] if answer is None else answer
            if typing.get_origin(returned) is Reply:
                (returned,) = typing.get_args(returned)
            empty = returned is type(None)
            usual = {HTTPStatus.NO_CONTENT: "Done."} if empty else {HTTPStatus.OK: "What was asked for."}
            placeholders = _PLACEHOLDER.findall(path)
            signature = inspect.signature(function).parameters
            found = [
                Parameter(
                    name,
                    "path" if name in placeholders else "query",
                    kind,
                    msgspec.NODEFAULT
                    if signature[name].default is inspect.Parameter.empty
                    else signature[name].default,
                )
                for name, kind in hints.items()
                if name not in {"request", "body", "return"}
            ]
            if missing := set(placeholders) - {one.name for one in found}:
                raise TypeError(f"{function.__name__} does not take {missing}")
            self.operations.append(
                Operation(
                    method=method,
                    path=path,
                    function=function,
                    parameters=tuple(found),
                    body=hints.get("body"),
                    answer=None if empty else returned,
                    statuses=statuses or usual,
                    problems=tuple(problems),
                    public=is_public,
                    scopes=() if is_public else scopes,
                    has_secret=has_secret,
                    tag=self.tag,
                    max_bytes=max_bytes,
                    marks=(*marks, public) if is_public else (*marks, bearer.accepting(scopes)),
                    media=tuple(media),
                    upload=upload,
                )
            )
            return function

        return register


def add_route(app: web.Application, operation: Operation) -> None:
    """Let the application answer it."""
    handler = _handler(operation)
    if operation.method == "GET":
        app.router.add_get(PREFIX + operation.path, handler, allow_head=operation.media == (JSON_TYPE,))
    else:
        app.router.add_route(operation.method, PREFIX + operation.path, handler)


def _handler(operation: Operation) -> Handler:
    decoder = None if operation.body is None else msgspec.json.Decoder(operation.body)

    async def handle(request: web.Request) -> web.StreamResponse:
        arguments = {one.name: _read(request, one) for one in operation.parameters}
        sent = b""
        if decoder is not None:
            if operation.max_bytes > request.client_max_size:
                request = request.clone(client_max_size=operation.max_bytes, remote=request.remote or "")
            sent = await request.read()
            if len(sent) > operation.max_bytes:
                raise Problem(ProblemCode.TOO_LARGE)
            arguments["body"] = _decoded(decoder, sent)

        async def act() -> web.StreamResponse:
            with bearer.without_person(request), translated(request.app[SETTINGS].brand):
                return answered(operation, await operation.function(request, **arguments))

        if operation.keeps_answers:
            return await once.guarded(request, sent, act)
        return await act()

    for mark in operation.marks:
        mark(handle)
    return handle


def answered(operation: Operation, given: Any) -> web.StreamResponse:
    """What a function returned, as a response."""
    if isinstance(given, web.StreamResponse):
        return given
    status = operation.status
    if isinstance(given, Reply):
        status, given = given.status, given.content
    return json_of(given, status)


def json_of(content: object, status: HTTPStatus) -> web.Response:
    """A struct as JSON; None as nothing."""
    if content is None:
        return web.Response(status=status)
    return web.Response(
        body=msgspec.json.encode(content), content_type=JSON_TYPE, charset="utf-8", status=status
    )


def _read(request: web.Request, parameter: Parameter) -> object:
    """Path parameters that cannot be name something that does not exist."""
    of_path = parameter.place == "path"
    text = request.match_info[parameter.name] if of_path else request.query.get(parameter.name)
    if text is None:
        if parameter.default is msgspec.NODEFAULT:
            raise Problem(ProblemCode.BAD_REQUEST, detail=f"{parameter.name} is missing.")
        return parameter.default
    try:
        return _parsed(text, parameter.kind)
    except msgspec.ValidationError as error:
        if of_path:
            raise Problem(ProblemCode.NOT_FOUND) from None
        raise Problem(ProblemCode.BAD_REQUEST, detail=f"{parameter.name}: {_told(error)}") from None


def _parsed(text: str, kind: Any) -> object:
    """A value from its text. ValidationError; a number has one text only, so 1e9 and 007 are none."""
    value = msgspec.convert(text, kind, strict=False)
    if "\0" in text or (isinstance(value, int) and str(value) != text):
        raise msgspec.ValidationError("Expected another text")
    return value


def _decoded(decoder: msgspec.json.Decoder[Any], sent: bytes) -> Any:
    try:
        body = decoder.decode(sent)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        is_json = isinstance(error, msgspec.ValidationError)
        told = _told(error) if is_json else "The body is a JSON object."
        raise Problem(ProblemCode.BAD_REQUEST, detail=told) from None
    if b"u0000" in sent and _holds_nul(msgspec.to_builtins(body)):  # no text of the database may
        raise Problem(ProblemCode.BAD_REQUEST, detail="A text holds the character U+0000.")
    return body


def _told(error: Exception) -> str:
    """What is wrong and where, without what was sent."""
    text = str(error)
    place = _PLACE.search(text)
    what = _UNKNOWN.sub("Not one of the values there are", _PLACE.sub("", text))
    return f"{place[1]}: {what}." if place and place[1] else f"{what}."


def _holds_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, value.values()))
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value
