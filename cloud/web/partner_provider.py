"""The OpenID provider of a partner, asked over HTTPS: its document, its keys, and what a code is worth.

The issuer is the operator's setting, so it is trusted to be asked, but not to be well: every request has a
time-out and a bound, redirects are not followed, and an endpoint is used only over HTTPS (a provider on this
machine's loopback excepted). Keys are asked for again when one is not known or does not fit, so that a
provider may change them at any time; no more often than every few seconds, so that nobody makes us ask.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import jwt
import msgspec
import structlog
from aiohttp import web
from yarl import URL

from cloud.config import LOOPBACK, ConfigError, Settings
from cloud.core.partner import (
    ALGORITHMS,
    LEEWAY_S,
    Metadata,
    PartnerError,
    PartnerPerson,
    needs_userinfo,
    parse_metadata,
    person_of,
    with_userinfo,
)

DISCOVERY: Final = "/.well-known/openid-configuration"
TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 256 * 1024
KEEP_S: Final = 3600.0
AGAIN_AFTER_S: Final = 5.0
REST_S: Final = 2.0
"""For so long a provider that did not answer is not asked again: nobody waits in line to hear it."""
AT_ONCE: Final = 16
"""Codes that are redeemed at the same time; more wait for their turn."""
USER_AGENT: Final = "SmartConnect-Log-in/1"

log = structlog.get_logger()


class PartnerAwayError(Exception):
    """The provider does not answer, or not with what a provider answers; the text is for the log."""


class PartnerProvider:
    """One a process. Its answers are kept for an hour; a failed question is asked again the next time."""

    def __init__(self, issuer: str, client_id: str, secret: str, name: str) -> None:
        """``secret`` is empty for a client without one; ``name`` is what people know the partner by."""
        self.issuer = issuer
        self.client_id = client_id
        self.name = name
        self._secret = secret
        self._metadata: Metadata | None = None
        self._metadata_until_s = 0.0
        self._keys: list[dict[str, Any]] = []
        self._keys_s = float("-inf")
        self._rest_until_s = 0.0
        self._lock = asyncio.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)

    @classmethod
    def of(cls, settings: Settings) -> "PartnerProvider | None":
        """That of the settings, None where there is none. ConfigError for a secret that cannot be read."""
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            return None
        secret, path = "", settings.oidc_client_secret_file
        if path is not None:
            try:
                secret = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"oidc_client_secret_file: {error}") from error
        return cls(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_name)

    async def metadata(self) -> Metadata:
        """What the provider says about itself. PartnerAwayError."""
        async with self._lock:
            if self._metadata is None or time.monotonic() >= self._metadata_until_s:
                if time.monotonic() < self._rest_until_s:
                    raise PartnerAwayError("the provider did not answer a moment ago")
                try:
                    self._metadata = await self._discover()
                except PartnerAwayError:
                    self._rest_until_s = time.monotonic() + REST_S
                    raise
                self._metadata_until_s = time.monotonic() + KEEP_S
            return self._metadata

    async def _discover(self) -> Metadata:
        try:
            document = await self._ask("GET", self.issuer.rstrip("/") + DISCOVERY)
            found = parse_metadata(document, self.issuer)
        except PartnerError as error:
            raise PartnerAwayError(str(error)) from error
        for address in (
            *(found.authorization_endpoint, found.token_endpoint, found.jwks_uri),
            *filter(None, (found.userinfo_endpoint, found.end_session_endpoint)),
        ):
            self._must_be_safe(address)
        return found

    async def redeem(self, code: str, *, verifier: str, redirect_uri: str, nonce: str) -> PartnerPerson:
        """Whom a code stands for. PartnerError where that is not proved, PartnerAwayError."""
        async with self._turns:
            return await self._redeem(await self.metadata(), code, verifier, redirect_uri, nonce)

    async def _redeem(
        self, metadata: Metadata, code: str, verifier: str, redirect_uri: str, nonce: str
    ) -> PartnerPerson:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if self._secret and not metadata.secret_in_form:
            parts = (
                quote(text, safe="") for text in (self.client_id, self._secret)
            )  # RFC 6749 section 2.3.1
            headers["Authorization"] = aiohttp.encode_basic_auth(*parts)
        else:
            form["client_id"] = self.client_id
            if self._secret:
                form["client_secret"] = self._secret
        tokens = await self._ask("POST", metadata.token_endpoint, form=form, headers=headers)
        claims = await self._claims_of(metadata, tokens.get("id_token"))
        if needs_userinfo(claims) and metadata.userinfo_endpoint:
            claims = with_userinfo(claims, await self._userinfo(metadata, tokens.get("access_token")))
        return person_of(claims, client_id=self.client_id, nonce=nonce)

    async def _userinfo(self, metadata: Metadata, token: object) -> Mapping[str, Any]:
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise PartnerError("there is no access token to ask for the e-mail address with")
        headers = {"Authorization": f"Bearer {token}"}
        return await self._ask("GET", metadata.userinfo_endpoint, headers=headers)

    # --- the ID token ---------------------------------------------------------------------------------------

    async def _claims_of(self, metadata: Metadata, token: object) -> dict[str, Any]:
        if not isinstance(token, str):
            raise PartnerError("there is no ID token")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise PartnerError(f"the ID token is none: {error}") from error
        if header.get("alg") not in ALGORITHMS:
            raise PartnerError("the ID token is not signed with a key of the provider")
        await self._refresh_keys(metadata, KEEP_S)
        try:
            return self._verify(token, header)
        except (jwt.InvalidSignatureError, LookupError):
            if not await self._refresh_keys(metadata, AGAIN_AFTER_S):
                raise PartnerError("no key of the provider has signed the ID token") from None
        try:
            return self._verify(token, header)
        except (jwt.InvalidSignatureError, LookupError):
            raise PartnerError("no key of the provider has signed the ID token") from None

    def _verify(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        """The claims. LookupError without a key that fits, jwt.InvalidSignatureError, PartnerError."""
        algorithm, kid = header["alg"], header.get("kid")
        fitting = [key for key in self._keys if kid is None or key.get("kid") == kid]
        if len(fitting) != 1:
            raise LookupError(kid)
        if fitting[0].get("alg", algorithm) != algorithm:
            raise PartnerError("the ID token's key is for another algorithm")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(fitting[0], algorithm),
                algorithms=[algorithm],
                audience=self.client_id,
                issuer=self.issuer,
                leeway=LEEWAY_S,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.PyJWTError as error:
            raise PartnerError(f"the ID token does not count: {error}") from error
        return claims

    async def _refresh_keys(self, metadata: Metadata, older_than_s: float) -> bool:
        """Ask for the keys again if ours are older; whether that was so."""
        async with self._lock:
            if time.monotonic() - self._keys_s < older_than_s:
                return False
            found = (await self._ask("GET", metadata.jwks_uri)).get("keys")
            if not isinstance(found, list):
                raise PartnerAwayError("the provider's keys are none")
            self._keys = [
                key
                for key in found
                if isinstance(key, dict) and key.get("kty") != "oct" and key.get("use", "sig") == "sig"
            ]
            self._keys_s = time.monotonic()
            return True

    # --- HTTP -----------------------------------------------------------------------------------------------

    def _must_be_safe(self, address: str) -> None:
        """PartnerAwayError for an endpoint that secrets must not be sent to."""
        try:
            url = URL(address)
        except ValueError as error:
            raise PartnerAwayError("an endpoint of the provider is no address") from error
        here = url.scheme == "http" and url.host in LOOPBACK and URL(self.issuer).host in LOOPBACK
        if (url.scheme != "https" and not here) or not url.host or url.user is not None:
            raise PartnerAwayError("an endpoint of the provider is not one of HTTPS")

    async def _ask(
        self,
        method: str,
        address: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object that is answered. PartnerError for 400 and 401, PartnerAwayError for all else."""
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
                ) as http,
                http.request(method, address, data=form, headers=headers, allow_redirects=False) as answer,
            ):
                status, body = answer.status, await _read(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise PartnerAwayError(f"{URL(address).path}: {type(error).__name__}") from error
        if status in {400, 401}:
            raise PartnerError(f"the provider refused what was sent to {URL(address).path} ({status})")
        if status != 200:
            raise PartnerAwayError(f"{URL(address).path} answered {status}")
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
            raise PartnerAwayError(f"{URL(address).path} did not answer with a JSON object") from error


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_chunked(16_384):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ValueError("the answer has no end")
    return b"".join(parts)


PARTNER: Final[web.AppKey[list[PartnerProvider]]] = web.AppKey("partner", list)
"""The partner of this installation; empty where there is none."""
