"""An OpenID provider on loopback that answers as it is told: honest, broken, or hostile."""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

CLIENT_ID: Final = "the portal"
SECRET: Final = "a secret: of/the client"
KID: Final = "first"

Claims = dict[str, Any]


def new_key() -> RSAPrivateKey:
    """A key to sign ID tokens with."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(key: RSAPrivateKey, kid: str) -> dict[str, Any]:
    """What a provider publishes of its key."""
    found: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {**found, "kid": kid, "use": "sig", "alg": "RS256"}


def unsafe_token(header: dict[str, Any], claims: Claims, secret: bytes | None) -> str:
    """A token as no library makes it: unsigned, or signed with HMAC and any secret."""
    parts = [_b64(json.dumps(part).encode()) for part in (header, claims)]
    text = ".".join(parts)
    return f"{text}.{'' if secret is None else _b64(hmac.digest(secret, text.encode(), 'sha256'))}"


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class Provider:
    """What it is and how it answers; everything may be changed at any time."""

    url: str = ""
    key: RSAPrivateKey = field(default_factory=new_key)
    keys: list[dict[str, Any]] = field(default_factory=list)
    person: Claims = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    userinfo: Claims = field(default_factory=dict)
    change: Callable[[Claims], object] = lambda _claims: None
    """Changes the claims of the next ID token in place."""
    sign: Callable[[Claims], str] | None = None
    """Makes the ID token in place of the provider's key."""
    token_answer: Callable[[], web.Response] | None = None
    asked: list[str] = field(default_factory=list)
    granted: dict[str, dict[str, str]] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """Its document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?from=portal",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/end",
            **self.document,
        }

    def grant(self, location: str, **more: str) -> str:
        """Let the person of this authorization request in: path and query of the way back, ``more`` in it."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_hex(16)
        self.granted[code] = query
        back = urlsplit(query["redirect_uri"])
        parts = {"code": code, "state": query["state"], **more}
        return back.path + "?" + "&".join(f"{name}={value}" for name, value in parts.items())

    def signed(self, claims: Claims, *, key: RSAPrivateKey | None = None, kid: str = KID) -> str:
        """A token of its key, or of another one."""
        return jwt.encode(claims, key or self.key, algorithm="RS256", headers={"kid": kid})

    # --- what it serves -------------------------------------------------------------------------------------

    async def _document(self, _request: web.Request) -> web.Response:
        self.asked.append("document")
        return web.json_response(self.metadata())

    async def _keys(self, _request: web.Request) -> web.Response:
        self.asked.append("keys")
        return web.json_response({"keys": self.keys})

    async def _userinfo(self, request: web.Request) -> web.Response:
        self.asked.append("userinfo")
        if request.headers.get("Authorization") != "Bearer opaque":
            return web.json_response({}, status=401)
        return web.json_response(self.userinfo)

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        if self.token_answer is not None:
            return self.token_answer()
        form = await request.post()
        query = self.granted.pop(str(form.get("code")), None)  # a code is good for one use
        if query is None or not self._is_client(request, dict(form)) or not _is_proved(query, dict(form)):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": query["nonce"],
            **self.person,
        }
        self.change(claims)
        token = self.sign(claims) if self.sign is not None else self.signed(claims)
        return web.json_response({"access_token": "opaque", "token_type": "Bearer", "id_token": token})

    def _is_client(self, request: web.Request, form: dict[str, Any]) -> bool:
        """By HTTP Basic, each part form-encoded (RFC 6749 section 2.3.1), or by fields of the form."""
        if "client_secret" in form:
            return (form.get("client_id"), form["client_secret"]) == (CLIENT_ID, SECRET)
        wanted = base64.b64encode(b"the%20portal:a%20secret%3A%20of%2Fthe%20client").decode()
        return request.headers.get("Authorization") == f"Basic {wanted}"


def _is_proved(query: dict[str, str], form: dict[str, Any]) -> bool:
    """PKCE (RFC 7636 section 4.6), and the same way back as before."""
    digest = hashlib.sha256(str(form.get("code_verifier")).encode()).digest()
    return (
        query["code_challenge_method"] == "S256"
        and query["code_challenge"] == _b64(digest)
        and query["redirect_uri"] == form.get("redirect_uri")
    )


@contextlib.asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    """A provider on a free port of 127.0.0.1 while the block runs."""
    provider = Provider()
    provider.keys = [public_jwk(provider.key, KID)]
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", provider._document)
    app.router.add_get("/keys", provider._keys)
    app.router.add_get("/userinfo", provider._userinfo)
    app.router.add_post("/token", provider._token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield provider
    finally:
        await runner.cleanup()
