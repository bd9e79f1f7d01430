"""What a portal process holds, and what one request knows about itself."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cloud.config import Settings
from cloud.core.authz import Actor
from cloud.postgres.accounts import Session
from cloud.postgres.api_tokens import Grant
from cloud.postgres.pool import Pool
from cloud.services.accounts import Authenticator
from cloud.services.commanding import Commander
from cloud.services.kit import Kit
from cloud.services.system_registering import SystemKeys
from cloud.web.problems import Problem, ProblemCode
from cloud.web.render import Pages

if TYPE_CHECKING:
    from cloud.services.derivation import LabelKeys
    from cloud.web.live import Hub
    from cloud.web.metrics import Metrics

SETTINGS: Final = web.AppKey("settings", Settings)
POOL: Final = web.AppKey("pool", Pool)
WARNED: Final = web.AppKey("warned", set[str])
PAGES: Final = web.AppKey("pages", Pages)
AUTHENTICATOR: Final = web.AppKey("authenticator", Authenticator)
HUB: Final[web.AppKey["Hub"]] = web.AppKey("hub")
METRICS: Final[web.AppKey["Metrics"]] = web.AppKey("metrics")
LABEL_KEYS: Final[web.AppKey["LabelKeys"]] = web.AppKey("label_keys")
KIT: Final = web.AppKey("kit", Kit)
COMMANDER: Final = web.AppKey("commander", Commander)
SYSTEM_KEYS: Final = web.AppKey("system_keys", SystemKeys)

REQUEST_ID: Final = web.RequestKey("request_id", str)


@dataclass(slots=True)
class Visit:
    """Who makes this request, as its cookie or API token says, and the form token of this visitor."""

    session: Session | None
    form_token: str
    new_cookie: str | None = None
    grant: Grant | None = None
    """What the request's API token allows; None without one."""


VISIT: Final = web.RequestKey("visit", Visit)


def visit_of(request: web.Request) -> Visit:
    """The visit that the session middleware found."""
    return request[VISIT]


def session_of(request: web.Request) -> Session:
    """The log-in of this request; Problem (login_needed) without one."""
    session = visit_of(request).session
    if session is None:
        raise Problem(ProblemCode.LOGIN_NEEDED)
    return session


def actor_of(request: web.Request) -> Actor:
    """The person of this request, acting for the session's company."""
    session = session_of(request)
    return Actor(session.account_id, session.company_id, session.role)


def now_ms() -> int:
    """The server's clock in unix ms."""
    return time.time_ns() // 1_000_000


def is_secure(settings: Settings) -> bool:
    """Whether people reach the portal over HTTPS, be it here or at a proxy in front."""
    return settings.portal_tls or settings.portal_url.startswith("https://")
