"""Settings of the cloud's processes: one table, read from TOML, environment and command line.

``Settings`` is the table: each field carries its type, default and help. A later source wins over an
earlier one: default, TOML file, environment (``SMARTCONNECT_<NAME>``; ``DATABASE_URL``), command line
(``--name``). An unknown key or a value of the wrong type is an error, never ignored.
"""

# ruff: noqa: RUF009 - _setting() is dataclasses.field() with a shape of our own

import dataclasses
import ipaddress
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cloud.core.sign_up import AREAS_OF_FOCUS, BUSINESS_TYPES, INDUSTRY_SEGMENTS, TEXT_MAX_CHARS, Choices

ENVIRONMENT_PREFIX: Final = "SMARTCONNECT_"
OTHERS_PREFIXES: Final = ("SMARTCONNECT_FAULT", "SMARTCONNECT_AGENT_", "SMARTCONNECT_DEMO_")
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
TRUTH: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


class ConfigError(Exception):
    """A setting that does not exist, or a value that does not fit; the text says which and from where."""


def _setting(default: object, explanation: str) -> Any:
    return field(default=default, metadata={"help": explanation})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Times and sizes carry their unit in the name."""

    state_dir: Path = _setting(
        Path(".state/cloud"), "keys, certificates and the private PostgreSQL live here"
    )
    database_url: str | None = _setting(
        None, "PostgreSQL to use (also DATABASE_URL); without it a private one is run in the state directory"
    )
    gateway_database_url: str | None = _setting(
        None, "the same database for the gateway, with its role's rights alone; database_url when unset"
    )
    portal_database_url: str | None = _setting(None, "likewise for the portal")
    jobs_database_url: str | None = _setting(None, "likewise for the jobs")
    hosts: tuple[str, ...] = _setting(
        ("localhost", "127.0.0.1"),
        "names and addresses under which agents and people reach this cloud; they go into the server's"
        " certificate, and the first is the one agents are given",
    )
    gateway_host: str = _setting("127.0.0.1", "address the MQTT gateway listens on; 0.0.0.0 for every one")
    gateway_port: int = _setting(8883, "port of the MQTT gateway (TLS); 0 takes a free one")
    gateway_metrics_port: int = _setting(
        0, "port of the gateway's Prometheus endpoint on 127.0.0.1 (/metrics); 0 offers none"
    )
    jobs_metrics_port: int = _setting(
        0, "port of the jobs process' Prometheus endpoint on 127.0.0.1 (/metrics); 0 offers none"
    )
    brand: str = _setting("SmartConnect", "name of the product on pages and in mails")
    portal_host: str = _setting("127.0.0.1", "address the portal listens on; 0.0.0.0 for every one")
    portal_port: int = _setting(8080, "port of the portal; 0 takes a free one")
    portal_tls: bool = _setting(False, "serve the portal over HTTPS with the server's certificate")
    public_url: str | None = _setting(
        None, "address people type, as in https://ups.example.org; made from host and port when unset"
    )
    tls_certificate: Path | None = _setting(
        None, "certificate chain (PEM) to use instead of the one of the cloud's own small authority"
    )
    tls_key: Path | None = _setting(None, "private key (PEM) of tls_certificate")
    audience: str = _setting("smartconnect", "name of this cloud in the log-in tokens of devices")
    receive_maximum: int = _setting(64, "messages a device may have unacknowledged (MQTT receive maximum)")
    max_packet_bytes: int = _setting(262_144, "largest MQTT packet that is read")
    max_sessions: int = _setting(20_000, "MQTT sessions one gateway accepts")
    writers: int = _setting(2, "database connections that store telemetry at the same time")
    pool_size: int = _setting(8, "database connections of one process for everything else")
    pending_days: int = _setting(7, "days a claim waits for its device, 1 to 30")
    manifest: str = _setting(
        "none",
        "none; label admits only devices that the maker has listed (admin manifest import); attested asks for"
        " the device key of the list, too",
    )
    offline_after_s: int = _setting(
        120,
        "seconds of silence after which a device counts as offline, which is told once; below 105 a restart"
        " of one of several gateways may be told",
    )
    raw_days: int = _setting(14, "days that full telemetry is kept")
    rejected_days: int = _setting(30, "days that a capped copy of a refused message is kept, to look into it")
    free_claims_account: int = _setting(
        20, "claims of one account that may be open before further ones need patience and a proof of work"
    )
    free_claims_address: int = _setting(100, "likewise of one IPv4 address, or one /64 of IPv6")
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        "addresses or networks of proxies in front of the portal, whose X-Forwarded-For is believed; nobody"
        " else's is",
    )
    session_days: int = _setting(30, "days after which a log-in to the portal ends")
    business_types: tuple[str, ...] = _setting(BUSINESS_TYPES, "what a registration's Business Type offers")
    areas_of_focus: tuple[str, ...] = _setting(AREAS_OF_FOCUS, "what its Area of Focus offers")
    industry_segments: tuple[str, ...] = _setting(INDUSTRY_SEGMENTS, "what its Industry Segment offers")
    oidc_issuer: str | None = _setting(
        None,
        "OpenID provider whose accounts may log in to the portal, as in https://id.example.org",
    )
    oidc_client_id: str | None = _setting(
        None, "name of this portal at that provider; the way back is public_url and /login/partner/back"
    )
    oidc_client_secret_file: Path | None = _setting(
        None, "file with the portal's secret at that provider, where it has one"
    )
    oidc_name: str = _setting("partner.schneider-electric.com", "what people know that provider by")
    mail: str = _setting(
        "off",
        "smtp sends mails by smtp_host; mailbox shows them to everybody on the page /mailbox (for trying out"
        " only); off keeps them unsent",
    )
    mail_from: str = _setting("smartconnect@localhost", "sender of mails, as in UPS portal <ups@example.org>")
    smtp_host: str = _setting("localhost", "mail server that takes our mails")
    smtp_port: int = _setting(587, "its port")
    smtp_tls: str = _setting("starttls", "starttls, tls from the first byte, or none (loopback only)")
    smtp_user: str | None = _setting(None, "log-in at the mail server")
    smtp_password_file: Path | None = _setting(None, "file with the password of smtp_user")
    smtp_ca_file: Path | None = _setting(
        None, "certificate authority (PEM) of the mail server, where it is no public one"
    )
    notify_private: bool = _setting(
        False,
        "let webhooks and apprise reach hosts beyond the public internet, also by plain HTTP: only where"
        " everybody who has an account may",
    )
    secrets_key_file: Path | None = _setting(
        None,
        "key (32 bytes, hexadecimal) that seals secrets in the database; made in the state directory when"
        " unset; every portal of one database needs the same, and a backup of its own",
    )
    log_level: str = _setting("info", "debug, info, warning or error")
    log_format: str = _setting("auto", "human, json, or auto: human on a terminal, JSON elsewhere")

    def __post_init__(self) -> None:
        """Check what a type alone does not say."""
        for name in ("gateway_port", "gateway_metrics_port", "jobs_metrics_port", "portal_port", "smtp_port"):
            _check(0 <= getattr(self, name) <= 65535, f"{name} is not a port")
        for name in ("receive_maximum", "max_sessions", "writers", "pool_size"):
            _check(getattr(self, name) >= 1, f"{name} must be at least 1")
        for name in ("raw_days", "rejected_days", "session_days", "offline_after_s"):
            _check(getattr(self, name) >= 1, f"{name} must be at least 1")
        _check(self.receive_maximum <= 65535, "receive_maximum is at most 65535")
        _check(1024 <= self.max_packet_bytes <= 2**28 - 1, "max_packet_bytes is 1024 to 268435455")
        _check(1 <= self.pending_days <= 30, "pending_days is 1 to 30")
        for name in ("free_claims_account", "free_claims_address"):
            _check(getattr(self, name) >= 1, f"{name} must be at least 1")
        for text in self.trusted_proxies:
            _check(_is_network(text), f"trusted_proxies: {text!r} is no address and no network")
        _check(bool(self.hosts), "hosts must name at least one")
        _check(
            (self.tls_certificate is None) == (self.tls_key is None),
            "tls_certificate and tls_key go together",
        )
        _check(self.mail in {"smtp", "mailbox", "off"}, "mail is smtp, mailbox or off")
        _check(self.manifest in {"none", "label", "attested"}, "manifest is none, label or attested")
        _check(self.smtp_tls in {"starttls", "tls", "none"}, "smtp_tls is starttls, tls or none")
        _check(
            self.mail != "smtp" or self.smtp_tls != "none" or self.smtp_host in LOOPBACK,
            "smtp_tls = none is for a mail server on this machine only",
        )
        for name, listed in self.choices.items():
            fine = [text for text in listed if len(text) <= TEXT_MAX_CHARS and "://" not in text]
            _check(bool(fine) and len(fine) == len(listed), f"the list of {name} is empty or unfit")
        _check(
            (self.oidc_issuer is None) == (self.oidc_client_id is None),
            "oidc_issuer and oidc_client_id go together",
        )
        _check(
            self.oidc_issuer is None or _is_issuer(self.oidc_issuer),
            "oidc_issuer is an address like https://id.example.org, without a query",
        )
        _check(self.log_format in {"auto", "human", "json"}, "log_format is auto, human or json")
        _check(self.log_level in {"debug", "info", "warning", "error"}, f"no log_level {self.log_level!r}")

    @property
    def choices(self) -> Choices:
        """The lists of a registration, by field."""
        return {
            "business_type": self.business_types,
            "area_of_focus": self.areas_of_focus,
            "industry_segment": self.industry_segments,
        }

    @property
    def portal_url(self) -> str:
        """Where people find the portal, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        scheme = "https" if self.portal_tls else "http"
        host = self.portal_host if self.portal_host not in {"0.0.0.0", "::"} else self.hosts[0]  # noqa: S104
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.portal_port}"

    @property
    def certificate_paths(self) -> tuple[Path, Path]:
        """Certificate chain and key the gateway and, with ``portal_tls``, the portal serve with."""
        if self.tls_certificate is not None and self.tls_key is not None:
            return self.tls_certificate, self.tls_key
        return self.state_dir / "tls" / "server.pem", self.state_dir / "tls" / "server.key"

    @property
    def secrets_key_path(self) -> Path:
        """Where the key lies that seals secrets in the database."""
        return self.secrets_key_file or self.state_dir / "keys" / "secrets.key"

    @property
    def dsn(self) -> str:
        """Connection string of the database: the configured one, else that of the private PostgreSQL."""
        if self.database_url is not None:
            return self.database_url
        try:
            return (self.state_dir / "pg.dsn").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise ConfigError(
                "no database: set DATABASE_URL, or start"
                f" `smartconnect-cloud postgres --state-dir {self.state_dir}`"
            ) from None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_issuer(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    return secure and bool(host) and parts.username is None and not parts.query and not parts.fragment


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise ConfigError(complaint)


def load(
    config_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from the three sources; ConfigError names the source and the key."""
    values: dict[str, object] = {}
    if config_path is not None:
        values |= _from_toml(config_path)
    values |= _from_environment(os.environ if environment is None else environment)
    for name, text in (flags or {}).items():
        values[name] = _parse(name, text, f"--{name.replace('_', '-')}")
    return Settings(**values)  # type: ignore[arg-type]  # each value was checked against its field


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {item.name: item for item in dataclasses.fields(Settings)}


def _from_toml(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return {name: _parse(name, value, str(path)) for name, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    if environment.get("DATABASE_URL"):
        values["database_url"] = environment["DATABASE_URL"]
    for key, text in environment.items():
        if key.startswith(ENVIRONMENT_PREFIX) and not key.startswith(OTHERS_PREFIXES):
            name = key.removeprefix(ENVIRONMENT_PREFIX).lower()
            values[name] = _parse(name, text, f"environment variable {key}")
    return values


def _parse(name: str, value: object, source: str) -> object:
    """The value as its field's type; text is parsed, TOML's own types are checked."""
    if name not in _fields():
        raise ConfigError(f"{source}: there is no setting {name!r}")
    hint = typing.get_type_hints(Settings)[name]
    if isinstance(hint, types.UnionType):  # X | None: a given value is an X
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    complaint = ConfigError(f"{source}: {name} = {value!r} is not {_kind(hint)}")
    if typing.get_origin(hint) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise complaint
        return tuple(item.strip() for item in items if item.strip())
    if hint is bool:
        if isinstance(value, str) and value.lower() in TRUTH:
            return TRUTH[value.lower()]
        if not isinstance(value, bool):
            raise complaint
        return value
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise complaint
        try:
            return int(value)
        except ValueError:
            raise complaint from None
    if not isinstance(value, str) or not value:
        raise complaint
    return hint(value)


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return "a list of texts"
    return {bool: "true or false", int: "a whole number", Path: "a path"}.get(hint, "a text")


@dataclass(frozen=True, slots=True)
class SettingHelp:
    """One row of the table as ``--help`` and the documentation show it."""

    name: str
    flag: str
    variable: str
    default: str
    explanation: str


def _shown(default: Any) -> str:
    """As it could be written in the environment or on the command line; empty for none."""
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def table() -> list[SettingHelp]:
    """Every setting with its names, default and help."""
    rows = []
    for name, item in _fields().items():
        rows.append(
            SettingHelp(
                name,
                "--" + name.replace("_", "-"),
                ENVIRONMENT_PREFIX + name.upper(),
                _shown(item.default),
                item.metadata["help"],
            )
        )
    return rows
