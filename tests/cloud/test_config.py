"""Settings: sources, precedence, and refusal of what is not in the table."""

from pathlib import Path

import pytest

from cloud.__main__ import make_parser
from cloud.config import ConfigError, Settings, load, table


def toml(folder: Path, text: str) -> Path:
    path = folder / "cloud.toml"
    path.write_text(text)
    return path


def test_a_later_source_wins(tmp_path: Path) -> None:
    path = toml(tmp_path, 'gateway_port = 1\nportal_port = 1\nwriters = 1\nhosts = ["a.example", "10.0.0.1"]')
    environment = {"SMARTCONNECT_PORTAL_PORT": "2", "SMARTCONNECT_WRITERS": "2", "OTHER": "x"}
    settings = load(path, environment, {"writers": "3"})
    assert (settings.gateway_port, settings.portal_port, settings.writers) == (1, 2, 3)
    assert settings.hosts == ("a.example", "10.0.0.1")
    assert load(None, {}, {}) == Settings()


def test_the_usual_variable_names_the_database() -> None:
    assert load(None, {"DATABASE_URL": "postgresql:///x"}).database_url == "postgresql:///x"
    assert load(None, {"DATABASE_URL": ""}).database_url is None


@pytest.mark.parametrize(
    "text",
    [
        "gateway_prot = 1",
        'gateway_port = "many"',
        "gateway_port = 70000",
        "portal_tls = 1",
        "hosts = [1]",
        "hosts = []",
        "pending_days = 31",
        'audience = ""',
        'log_level = "loud"',
        'tls_key = "only-half"',
        "not toml",
    ],
)
def test_refuses_with_a_reason(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(toml(tmp_path, text), {})
    assert str(refusal.value)


def test_unknown_variables_are_errors_but_not_those_of_other_programs() -> None:
    with pytest.raises(ConfigError, match="SMARTCONNECT_GATEWAY_PROT"):
        load(None, {"SMARTCONNECT_GATEWAY_PROT": "1"})
    assert load(None, {"SMARTCONNECT_FAULT": "a:1", "SMARTCONNECT_AGENT_CONFIG": "x"}) == Settings()


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Settings(), "http://127.0.0.1:8080"),
        (Settings(portal_host="0.0.0.0", portal_tls=True, hosts=("10.0.0.7",)), "https://10.0.0.7:8080"),
        (Settings(portal_host="::1"), "http://[::1]:8080"),
        (Settings(public_url="https://ups.example.org/"), "https://ups.example.org"),
    ],
)
def test_the_portal_url(settings: Settings, url: str) -> None:
    assert settings.portal_url == url


def test_the_connection_string_of_the_private_server(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with pytest.raises(ConfigError, match="smartconnect-cloud postgres"):
        _ = settings.dsn
    (tmp_path / "pg.dsn").write_text("postgresql:///private\n")
    assert settings.dsn == "postgresql:///private"


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["serve", "--help"])
    shown = capsys.readouterr().out
    for row in table():
        assert row.explanation
        assert row.flag in shown
        assert row.variable in shown


def test_what_help_shows_as_default_is_the_default() -> None:
    """Each shown default, given in the environment or on the command line, changes nothing."""
    shown = [row for row in table() if row.default]
    assert {row.default for row in shown if row.name in {"brand", "portal_tls"}} == {"SmartConnect", "false"}
    assert load(None, {row.variable: row.default for row in shown}) == Settings()
    assert load(None, {}, {row.name: row.default for row in shown}) == Settings()
    assert all(getattr(Settings(), row.name) in {None, ()} for row in table() if not row.default)
