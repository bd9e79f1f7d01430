"""A provider's document, keys and client log-in, asked without a portal."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cloud.config import ConfigError, Settings
from cloud.core.partner import PartnerError, challenge_of
from cloud.web.partner_provider import PartnerAwayError, PartnerProvider
from tests.fakes.openid import CLIENT_ID, SECRET, Claims, Provider, providing

BACK = "https://portal.example.org/login/partner/back"
VERIFIER = "v" * 43


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An honest one."""
    async with providing() as running:
        running.person = {"sub": "grace-1", "email": "grace@example.org", "email_verified": True}
        yield running


def client(provider: Provider, secret: str = SECRET) -> PartnerProvider:
    """A portal's side of it."""
    return PartnerProvider(provider.url, CLIENT_ID, secret, "Example ID")


def code_of(provider: Provider) -> str:
    """A code that was given out for our verifier."""
    provider.granted["c"] = {
        "code_challenge_method": "S256",
        "code_challenge": challenge_of(VERIFIER),
        "redirect_uri": BACK,
        "nonce": "n",
    }
    return "c"


async def subject_of(provider: Provider, asking: PartnerProvider, verifier: str = VERIFIER) -> str:
    """Whom a fresh code stands for."""
    found = await asking.redeem(code_of(provider), verifier=verifier, redirect_uri=BACK, nonce="n")
    return found.subject


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://id.example.org"},
        {"jwks_uri": ""},
        {"token_endpoint": "http://id.example.org/token"},
        {"token_endpoint": "ftp://127.0.0.1/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "http://127.0.0.1:x/"},
        {"jwks_uri": "https://user:word@id.example.org/keys"},
    ],
)
async def test_a_document_that_leads_elsewhere(provider: Provider, document: dict[str, str]) -> None:
    provider.document = document
    with pytest.raises(PartnerAwayError):
        await client(provider).metadata()


async def test_the_document_is_kept_and_a_failure_is_not_asked_for_again_at_once(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = client(provider)
    await asking.metadata()
    await asking.metadata()
    assert provider.asked == ["document"]
    provider.document = {"jwks_uri": ""}
    away = client(provider)
    for _ in range(2):
        with pytest.raises(PartnerAwayError):
            await away.metadata()
    assert len(provider.asked) == 2
    monkeypatch.setattr("cloud.web.partner_provider.REST_S", 0.0)
    recovering = client(provider)
    with pytest.raises(PartnerAwayError):
        await recovering.metadata()
    provider.document = {}
    assert (await recovering.metadata()).issuer == provider.url


async def test_the_client_proves_itself_as_the_provider_wants_it(provider: Provider) -> None:
    assert await subject_of(provider, client(provider)) == "grace-1"
    provider.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert await subject_of(provider, client(provider)) == "grace-1"
    for asking in (client(provider, "wrong"), client(provider, "")):
        with pytest.raises(PartnerError):
            await subject_of(provider, asking)
    with pytest.raises(PartnerError):  # PKCE: whoever has stolen a code lacks the verifier
        await subject_of(provider, client(provider), "w" * 43)


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate),
    ],
)
async def test_other_kinds_of_keys(provider: Provider, algorithm: str, make: Callable[[], Any]) -> None:
    key = make()
    kind = jwt.get_algorithm_by_name(algorithm)
    public: Mapping[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    provider.keys = [{**public, "kid": "second"}, *provider.keys]

    def sign(claims: Claims) -> str:
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "second"})

    provider.sign = sign
    assert await subject_of(provider, client(provider)) == "grace-1"


async def test_a_token_without_the_name_of_its_key(provider: Provider) -> None:
    provider.sign = lambda claims: jwt.encode(claims, provider.key, algorithm="PS256")
    provider.keys = [{name: value for name, value in provider.keys[0].items() if name not in {"alg", "kid"}}]
    assert await subject_of(provider, client(provider)) == "grace-1"
    provider.keys = provider.keys * 2
    with pytest.raises(PartnerError):  # which of the two it is must be said
        await subject_of(provider, client(provider))


def test_the_partner_of_the_settings(tmp_path: Path) -> None:
    assert PartnerProvider.of(Settings()) is None
    issuer: dict[str, Any] = {"oidc_issuer": "https://id.example.org", "oidc_client_id": "portal"}
    found = PartnerProvider.of(Settings(**issuer))
    assert found is not None
    assert (found.issuer, found.name) == ("https://id.example.org", "partner.schneider-electric.com")
    with pytest.raises(ConfigError, match="oidc_client_secret_file"):
        PartnerProvider.of(Settings(**issuer, oidc_client_secret_file=tmp_path / "missing"))


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_issuer": "https://id.example.org"},
        {"oidc_client_id": "portal"},
        {"oidc_issuer": "http://id.example.org", "oidc_client_id": "portal"},
        {"oidc_issuer": "https://id.example.org?x", "oidc_client_id": "portal"},
        {"oidc_issuer": "https://[", "oidc_client_id": "portal"},
        {"business_types": ()},
        {"areas_of_focus": ("x" * 300,)},
        {"industry_segments": ("https://example.org",)},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Settings(**settings)
