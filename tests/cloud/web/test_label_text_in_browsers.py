"""The browser's reading of a label's code, held to the cases of the server's; run by node."""

import json
import subprocess
from pathlib import Path

import build_assets
from tests.support.label_texts import HOLDING, HOLDING_NONE, ID, KEY, LETTERS

PROGRAM = """
import {{ findLabel, shown }} from "{module}";
import {{ readFileSync }} from "node:fs";
const texts = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => [findLabel(text), shown(text)])));
"""


def test_server_and_browser_read_the_same(tmp_path: Path) -> None:
    npm, environment = build_assets.npm()
    module = tmp_path / "label_text.mjs"
    source = build_assets.FRONTEND / "label_text.ts"
    subprocess.run(
        [*npm, "exec", "--offline", "--", "esbuild", str(source), f"--outfile={module}"],
        cwd=build_assets.FRONTEND,
        env=environment,
        capture_output=True,
        check=True,
    )
    texts = [*HOLDING, LETTERS[0], *HOLDING_NONE]
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PROGRAM.format(module=module.as_uri())],
        input=json.dumps(texts).encode(),
        env=environment,
        capture_output=True,
        check=True,
    )
    found = [answer[0] for answer in json.loads(done.stdout)]
    codes = {"productId": ID, "productKey": KEY}
    assert found[: len(HOLDING)] == [codes] * len(HOLDING)
    assert found[len(HOLDING)] == {"productId": LETTERS[1], "productKey": LETTERS[2]}
    assert found[len(HOLDING) + 1 :] == [None] * len(HOLDING_NONE)
    assert all(len(answer[1]) <= 80 for answer in json.loads(done.stdout))
