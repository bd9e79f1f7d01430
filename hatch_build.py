"""Build hook: a wheel, a source archive and an editable install all carry the portal's browser files.

``SMARTCONNECT_BUILD_ASSETS=0`` leaves them out, for an editable install that never serves the portal.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _assets() -> ModuleType:
    path = Path(__file__).with_name("build_assets.py")
    spec = importlib.util.spec_from_file_location("build_assets", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _wanted() -> bool:
    return os.environ.get("SMARTCONNECT_BUILD_ASSETS", "1") != "0"


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs :mod:`build_assets` before hatchling collects the files."""

    def dependencies(self) -> list[str]:
        """Node comes as a wheel where the machine has none, and only when something has to be built."""
        assets = _assets()
        needed = [] if assets.compiled() else [assets.BABEL]
        if _wanted() and not assets.fresh() and shutil.which("npm") is None:
            needed.append(assets.NODE_WHEEL)
        return needed

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build, and add the git-ignored output to the archive."""
        assets = _assets()
        assets.compile_texts()
        build_data["artifacts"] += ["cloud/languages/**/*.mo", "cloud/languages/**/browser.json"]
        if not _wanted():
            return
        try:
            assets.build()
        except assets.AssetsError as error:
            raise RuntimeError(f"the portal's browser files cannot be built: {error}") from None
        # By kind: artifacts overrule the exclusion of source maps, which are two thirds of the output.
        build_data["artifacts"] += [
            f"cloud/web/static/dist/{kind}" for kind in ("*.js", "*.css", "*.txt", "*.wasm", "*.gz", ".stamp")
        ]
