"""The portal's browser code, as far as it can be judged without a browser."""

import subprocess

import build_assets


def test_the_types_of_the_browser_code_hold() -> None:
    """Esbuild strips types without looking at them; the compiler that does look comes with ``make test``."""
    npm, environment = build_assets.npm()
    done = subprocess.run(
        [*npm, "run", "--silent", "typecheck"],
        cwd=build_assets.FRONTEND,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
