"""The page docs/settings.md, made from the tables of settings: ``python -m
tests.architecture.settings_page``.
"""

from pathlib import Path

from agent import config as agent_config
from cloud import config as cloud_config

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def render() -> str:
    """The page as it should be."""
    lines = [
        "# Settings",
        "",
        "Made from the tables in `cloud/config.py` and `agent/config.py`. A later source wins: default, TOML",
        "file (`--config FILE`), environment, command line. An unknown key is an error.",
        "",
        "## Cloud",
        "",
        "`DATABASE_URL` in the environment is `database_url`.",
        "",
        "| key | flag, environment | default | meaning |",
        "|---|---|---|---|",
    ]
    for row in cloud_config.table():
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | `{row.flag}`, `{row.variable}` | {default} | {row.explanation} |")
    lines += [
        "",
        "## Agent, the process",
        "",
        "| key | environment | default | meaning |",
        "|---|---|---|---|",
    ]
    for item in agent_config.table(agent_config.Settings):
        variable = agent_config.ENVIRONMENT_PREFIX + item.name.upper()
        default = f"`{item.default}`" if item.default else ""
        lines.append(f"| `{item.name}` | `{variable}` | {default} | {item.explanation} |")
    lines += ["", "## Agent, each `[[ups]]`", "", "| key | default | meaning |", "|---|---|---|"]
    for item in agent_config.table(agent_config.UpsSettings):
        default = f"`{item.default}`" if item.default else ""
        lines.append(f"| `{item.name}` | {default} | {item.explanation} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
