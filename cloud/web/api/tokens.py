"""API tokens for programs: what the page *API tokens* does."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import DEFAULT_LIFE_DAYS, MAX_LIFE_DAYS, Scope
from cloud.core.authz import Role
from cloud.core.language import gettext
from cloud.services import api_tokens
from cloud.web.api.kinds import Line, Ms, Number
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, now_ms, session_of, visit_of

SECTION: Final = Section(
    "API tokens",
    "For programs: sent as `Authorization: Bearer …`, with some of your rights and no cookie. They are made "
    "and revoked by people who are logged in.",
)


class TokenInList(Struct):
    """A token of yours, without its text."""

    token_id: Number
    company_id: Number
    company_name: str
    name: str
    scopes: Sequence[Scope]
    created_ms: Ms
    expires_ms: Ms
    used_ms: Annotated[int | None, Meta(description="Unix ms of its last use, to the minute.")]
    used_network: Annotated[str, Meta(description="Network of its last use.")]


class TokenList(Struct):
    """Your tokens in all your companies, newest first."""

    tokens: list[TokenInList]


class NewToken(Struct):
    """A token to be made in the company you act for."""

    name: Line
    scopes: Annotated[list[Scope], Meta(max_length=len(Scope))]
    expires_days: Annotated[int, Meta(ge=1, le=MAX_LIFE_DAYS)] = DEFAULT_LIFE_DAYS


class MadeToken(Struct):
    """A new token. Its text is told this once."""

    token_id: Number
    token: Annotated[str, Meta(description="Keep it where secrets are kept.")]
    expires_ms: Ms


class TokenInUse(Struct):
    """The token this request was made with, and what its owner is at this moment."""

    name: str
    scopes: list[Scope]
    expires_ms: Ms
    account_id: Number
    email: str
    company_id: Number
    company: str
    role: Role


@SECTION.operation("GET", "/tokens")
async def list_tokens(request: web.Request) -> TokenList:
    """Your tokens."""
    found = await api_tokens.list_mine(request.app[KIT], session_of(request).account_id)
    return TokenList([msgspec.convert(one, TokenInList, from_attributes=True) for one in found])


@SECTION.operation(
    "POST",
    "/tokens",
    statuses={HTTPStatus.CREATED: "It can be used."},
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.FIELD_INVALID, ProblemCode.TOO_MANY],
    has_secret=True,
)
async def make_token(request: web.Request, body: NewToken) -> MadeToken:
    """Make a token. An Idempotency-Key means nothing here, for the answer must not be kept."""
    made = await api_tokens.make(
        request.app[KIT], session_of(request), body.name, body.scopes, body.expires_days, now_ms()
    )
    return MadeToken(made.token_id, made.text, made.expires_ms)


@SECTION.operation("DELETE", "/tokens/{token_id}")
async def revoke_token(request: web.Request, token_id: Number) -> None:
    """Revoke a token: it ends at once."""
    await api_tokens.revoke(request.app[KIT], session_of(request), token_id, now_ms())


@SECTION.operation("GET", "/token", scope=tuple(Scope), problems=[ProblemCode.NOT_FOUND])
async def show_token(request: web.Request) -> TokenInUse:
    """The token that this request is made with; any scope will do."""
    grant = visit_of(request).grant
    if grant is None:
        raise Problem(
            ProblemCode.NOT_FOUND, detail=gettext("This request was made with a log-in, not with a token.")
        )
    session = grant.session
    return TokenInUse(
        name=grant.name,
        scopes=[scope for scope in Scope if scope in grant.scopes],
        expires_ms=session.expires_ms,
        account_id=session.account_id,
        email=session.email,
        company_id=session.company_id,
        company=session.company_name,
        role=session.role,
    )
