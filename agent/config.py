"""Settings of the agent: two tables, for the process and for each UPS; from TOML, environment, command line.

`Settings` and `UpsSettings` are the tables: each field carries type, default and help. Environment variables
are ``SMARTCONNECT_AGENT_<NAME>`` and flags ``--name`` for the settings of the process; a later source wins.
An unknown key or a value of the wrong type is an error, never ignored.
"""

# ruff: noqa: RUF009 - _setting() is dataclasses.field() with a shape of our own

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from dataclasses import MISSING, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.errors import ConfigError
from agent.proxy import NONE, Proxy, from_environment
from protocol.system_link import LINK_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

T = typing.TypeVar("T")

ENVIRONMENT_PREFIX: Final = "SMARTCONNECT_AGENT_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_MODBUS = re.compile(
    r"serial:(?P<path>/.+)|(?P<kind>tcp|rtu\+tcp)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:\[\]]+):(?P<port>\d{1,5})"
)


class Enable(StrEnum):
    """Who switches SmartConnect on: the agent by itself, or a person when asked."""

    AUTO = "auto"
    ASK = "ask"


def _setting(explanation: str, default: object = MISSING) -> Any:
    metadata = {"help": explanation}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """Where the registers of a UPS are: a serial device, or host and port with one of two framings."""

    path: str | None
    host: str | None
    port: int
    rtu: bool

    @classmethod
    def parse(cls, text: str) -> ModbusAddress:
        """Address in a setting: ``serial:/dev/…``, ``tcp://host:port`` or ``rtu+tcp://host:port``."""
        match = _MODBUS.fullmatch(text)
        if match is None or not (match["port"] is None or 0 < int(match["port"]) <= 65535):
            raise ValueError(f"{text!r} is not serial:/path, tcp://host:port or rtu+tcp://host:port")
        if match["path"] is not None:
            return cls(match["path"], None, 0, rtu=True)
        return cls(None, match["host"].strip("[]"), int(match["port"]), rtu=match["kind"] == "rtu+tcp")

    def __str__(self) -> str:
        if self.path is not None:
            return f"serial:{self.path}"
        return f"{'rtu+tcp' if self.rtu else 'tcp'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsSettings:
    """One ``[[ups]]`` table."""

    name: str = _setting("short name, also of its directory under the state directory")
    modbus: ModbusAddress = _setting("serial:/path, tcp://host:port or rtu+tcp://host:port")
    unit: int = _setting("Modbus unit id", 1)
    baud_rate: int = _setting("speed of the serial line", 9600)
    enable: Enable = _setting("auto: switch SmartConnect on; ask: wait until a person does", Enable.ASK)
    product_id: str | None = _setting("Product ID of the label, if the UPS does not hold it", None)
    product_key_file: Path | None = _setting("file (0600) with the Product Key of the label", None)
    report_interval_s: float = _setting("seconds between reports on mains; 1 reports every sample", 60.0)
    poll_interval_s: float = _setting("seconds between readings of the UPS", 1.0)
    allow_outlet_control: bool = _setting("let the owner switch outlet groups of this UPS from afar", False)

    def __post_init__(self) -> None:
        """Check what a type alone does not say."""
        _check(_NAME.fullmatch(self.name), f"{self.name!r} cannot be the name of a UPS")
        _check(1 <= self.unit <= 247, f"{self.name}: unit is 1 to 247")
        _check(0.1 <= self.poll_interval_s <= 3600, f"{self.name}: poll_interval_s is 0.1 to 3600")
        _check(0.1 <= self.report_interval_s <= 3600, f"{self.name}: report_interval_s is 0.1 to 3600")
        _check(self.baud_rate in {2400, 4800, 9600, 19200, 38400, 57600, 115200}, f"{self.name}: baud_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The process."""

    installation: Path = _setting("file that names the cloud: authority, root key, address (admin bundle)")
    state_dir: Path = _setting("keys, state and spools live here (0700)", Path(".state/agent"))
    link_host: str = _setting(
        "address an Enterprise Server listens on for servers attached to it; 0.0.0.0 for every one",
        "0.0.0.0",  # noqa: S104  other machines call it; who they are is checked
    )
    link_port: int = _setting("its port (TCP, inbound); 0 takes a free one", LINK_PORT)
    system_online: bool = _setting(
        "let a server of a building system ask the portal by itself; false: registration codes only", True
    )
    proxy: str | None = _setting(
        "HTTP proxy to the cloud, http://[user:password@]host:port; none: no proxy; unset: HTTPS_PROXY",
        None,
    )
    no_proxy: str | None = _setting(
        "hosts reached without it: names, .suffixes or *, with commas; unset: NO_PROXY", None
    )
    spool_max_mb: int = _setting("disk the telemetry of one UPS may wait in, MiB", 64)
    log_level: str = _setting("debug, info, warning or error", "info")
    log_format: str = _setting("human, json, or auto: human on a terminal, JSON elsewhere", "auto")
    ups: tuple[UpsSettings, ...] = ()

    def __post_init__(self) -> None:
        """Check what a type alone does not say."""
        _check(0 <= self.link_port <= 65535, "link_port is 0 to 65535")
        if self.proxy not in {None, NONE}:
            try:
                Proxy.parse(self.proxy or "")
            except ValueError as error:
                raise ConfigError(f"proxy, or HTTPS_PROXY of the environment: {error}, or none") from None
        _check(self.spool_max_mb >= 1, "spool_max_mb must be at least 1")
        _check(self.log_format in {"auto", "human", "json"}, "log_format is auto, human or json")
        _check(self.log_level in {"debug", "info", "warning", "error"}, f"no log_level {self.log_level!r}")
        names = [ups.name for ups in self.ups]
        _check(len(set(names)) == len(names), "two UPSs have the same name")
        places = [(ups.modbus, ups.unit) for ups in self.ups]
        _check(len(set(places)) == len(places), "two UPSs have the same address and unit")


def _check(holds: object, complaint: str) -> None:
    if not holds:
        raise ConfigError(complaint)


def load(path: Path | None, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Settings from the three sources; ConfigError names the source and the key.

    Relative paths in the file are meant from the file's directory.
    """
    values: dict[str, object] = dict(from_environment(environment))
    if path is not None:
        values |= _from_toml(path)
    for key, text in environment.items():
        if key.startswith(ENVIRONMENT_PREFIX):
            name = key.removeprefix(ENVIRONMENT_PREFIX).lower()
            values[name] = _parse(Settings, name, text, f"environment variable {key}")
    for name, text in flags.items():
        values[name] = _parse(Settings, name, text, f"--{name.replace('_', '-')}")
    return _build(Settings, values, str(path or "command line"))


def _from_toml(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    units = table.pop("ups", [])
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise ConfigError(f"{path}: each UPS is a [[ups]] table")
    values: dict[str, object] = {k: _parse(Settings, k, v, str(path), path.parent) for k, v in table.items()}
    values["ups"] = tuple(
        _build(
            UpsSettings,
            {k: _parse(UpsSettings, k, v, f"{path}, ups {number}", path.parent) for k, v in unit.items()},
            f"{path}, ups {number}",
        )
        for number, unit in enumerate(units, 1)
    )
    return values


def _build(shape: type[T], values: Mapping[str, object], source: str) -> T:
    missing = [
        item.name
        for item in dataclasses.fields(shape)  # type: ignore[arg-type]  # a dataclass, by contract
        if item.default is MISSING and item.name not in values
    ]
    if missing:
        raise ConfigError(f"{source}: {', '.join(missing)} must be set")
    return shape(**values)


def _parse(shape: type, name: str, value: object, source: str, base: Path | None = None) -> object:
    """The value as its field's type; text is parsed, TOML's own types are checked."""
    hint = typing.get_type_hints(shape).get(name)
    if hint is None or name == "ups":
        raise ConfigError(f"{source}: there is no setting {name!r}")
    if isinstance(hint, types.UnionType):  # X | None: a given value is an X
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    try:
        return _convert(hint, value, base)
    except (ValueError, TypeError):
        raise ConfigError(f"{source}: {name} = {value!r} is not {_kind(hint)}") from None


def _convert(hint: Any, value: object, base: Path | None) -> object:
    if hint is bool:
        if not isinstance(value, bool):
            raise TypeError
        return value
    if hint is int or hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError
        return hint(value) if hint is float or not isinstance(value, float) else int(str(value))
    if not isinstance(value, str) or not value:
        raise TypeError
    if hint is Path:
        path = Path(value).expanduser()
        return path if base is None or path.is_absolute() else base / path
    if hint is ModbusAddress:
        return ModbusAddress.parse(value)
    return hint(value)


def _kind(hint: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        Path: "a path",
        Enable: "auto or ask",
        ModbusAddress: "serial:/path, tcp://host:port or rtu+tcp://host:port",
    }
    return names.get(hint, "a text")


@dataclass(frozen=True, slots=True)
class SettingHelp:
    """One row of a table as ``--help`` and the documentation show it."""

    name: str
    default: str
    explanation: str


def table(shape: type) -> list[SettingHelp]:
    """Every setting of a table with its default and help; "" where it must be set or is unset."""
    return [
        SettingHelp(
            item.name,
            _shown(item.default),
            item.metadata["help"],
        )
        for item in dataclasses.fields(shape)
        if item.metadata
    ]


def _shown(default: object) -> str:
    if default is MISSING or default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
