"""Acceptance ``offline-codes``: every class of refusal of a registration code, without any network.

The portal's services make requests and codes on a real PostgreSQL. What they made is written down and judged
by a second process in a network namespace of its own, where there is no network at all (``unshare``); where
the system does not allow one, the check fails and says so. Then the same with real agents: each class has a
server of its own there (``_offline_servers``), whose request goes out and whose code comes in by file.
"""

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloud.embedded import EmbeddedPostgres
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from protocol.codec import encode
from protocol.errors import ErrorCode
from protocol.identity import b64url, unb64url
from protocol.system import SystemId
from protocol.system_code import (
    CODE_GROUPS,
    DAY_MS,
    CodeRefusal,
    CodeRefusedError,
    OpenRequest,
    Operation,
    Registered,
    read_code,
    read_groups,
    read_request,
    write_code,
    write_groups,
)
from protocol.system_keys import cloud_secret
from tests.accept import expect, passed, progress
from tests.accept._offline_servers import CLASSES, WORDS
from tests.support.kit import opened_kit
from tests.support.system_cloud import SystemCloud
from tests.support.system_scene import NOW, Scene, make_scene
from tests.support.systems import TestCloudKeys, TestServer

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SYSTEMS: Final = 5
MODULE: Final = "tests.accept.offline_codes"
GOOD: Final = "good"
WEEK_MS: Final = 8 * DAY_MS


@dataclass(frozen=True)
class Case:
    """A code, what the server has open, and the word it must answer with; ``group`` from 1, or 0."""

    name: str
    code: str
    request: OpenRequest | None
    secret: bytes
    now_ms: int
    word: str
    group: int = 0


def main() -> int:
    """Run the check."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="sc-codes-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "pg") as server:
            create_database(server.dsn("postgres"), "codes")
            migrate(server.dsn("codes"))
            progress("requests and codes, made by the services")
            cases = asyncio.run(_cases(server.dsn("codes")))
            path = folder / "cases.json"
            path.write_text(json.dumps([_plain(case) for case in cases]))
            progress(f"{len(cases)} codes, judged without a network")
            done = _without_network(MODULE, str(path))
            progress(f"{len(CLASSES)} agents' servers without a network")
            asyncio.run(_agents(server.dsn("codes"), folder))
    expect(done.returncode == 0, f"judged in a network namespace of its own: {done.stdout}{done.stderr}")
    words = {case.word for case in cases}
    expect(words == {GOOD, *(refusal.value for refusal in CodeRefusal)}, f"only {words} were tried")
    counted = ", ".join(f"{sum(case.word == word for case in cases)} {word}" for word in sorted(words))
    return passed(
        "offline-codes",
        f"""{len(cases)} codes without a network: {counted}; {len(CLASSES)} agents' servers there answered
        with the word of their class; {done.stdout.strip()}""",
    )


def _without_network(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# --- real agents --------------------------------------------------------------------------------------------


async def _agents(dsn: str, folder: Path) -> None:
    """A server for each class, asked and answered. CheckError where one has another word than it should."""
    cloud = SystemCloud()
    (folder / "installation.json").write_bytes(encode(cloud.installation()))
    await _step("ask", folder)
    requests: dict[str, str] = json.loads((folder / "ask.json").read_text())
    async with opened_kit(dsn) as kit:
        scene = await make_scene(kit, "agents")
        codes = await _codes_for(scene, cloud, requests)
    (folder / "codes.json").write_text(json.dumps(codes))
    await _step("enter", folder)
    answers: dict[str, str] = json.loads((folder / "enter.json").read_text())
    for name, word in WORDS.items():
        found = answers[name].partition(" ")[0]
        expect(found == word, f"{name}: the server says {answers[name]!r} instead of {word or 'yes'!r}")
    expect("Group 3" in answers["mistyped"], f"no group is named: {answers['mistyped']!r}")


async def _step(what: str, folder: Path) -> None:
    done = await asyncio.to_thread(_without_network, "tests.accept._offline_servers", what, str(folder))
    expect(done.returncode == 0, f"{what}, without a network: {done.stdout}{done.stderr}")


async def _codes_for(scene: Scene, cloud: SystemCloud, requests: dict[str, str]) -> dict[str, str]:
    """What is entered at the server of each class; made by the services, altered as a forger would."""
    now = time.time_ns() // 1_000_000
    scene.keys = TestCloudKeys(cloud.keys)
    made = {}
    for name, text in requests.items():
        if name == "good after rotation":
            cloud.rotate()
        if text:
            then = now - WEEK_MS - DAY_MS if name == "expired" else now
            made[name] = (await scene.register(scene.ada, text, now=then)).code
    request, _ = read_request(requests["forged"])
    answer = read_code(made["forged"], request, cloud.secret(request), now)
    other, _ = read_request(requests["another cloud key"])
    wrong, _ = read_request(requests["wrong operation"])
    by_number = cloud_secret(cloud.keys[2], other.system_id.public, other.system_id, 2)
    third = made["mistyped"].split("-")
    third[2] = third[2][:-1] + ("0" if third[2][-1] != "0" else "1")
    return {
        **made,
        "never asked": made["good"],
        "mistyped": "-".join(third),
        "forged": write_code(request, answer, bytes(32)),
        "another server's": made["good"],
        "another registration": _regrouped(made["forged"], answer, answer.registration ^ 1),
        "another cloud key": write_code(other, answer, by_number),
        "wrong operation": write_code(
            wrong, replace(answer, operation=Operation.ASSOCIATE), cloud.secret(wrong)
        ),
    }


# --- making -------------------------------------------------------------------------------------------------


async def _cases(dsn: str) -> list[Case]:
    cases: list[Case] = []
    async with opened_kit(dsn) as kit:
        scene = await make_scene(kit)
        for _ in range(SYSTEMS):
            scene.keys = TestCloudKeys.make(1)
            server = TestServer(scene.keys)
            text = server.request(Operation.REGISTER, 1)
            request, secret = _open_of(server)
            done = await scene.register(scene.ada, text)
            cases += _of_one(done.code, request, secret)
            other = scene.server()
            other_code = (await scene.register(scene.ada, other.request(Operation.REGISTER, 1))).code
            cases.append(
                _case("another System ID's", other_code, request, secret, "not made for this request")
            )
            # before and after the cloud has a new key
            rotated = {**scene.keys.private, 2: X25519PrivateKey.generate()}
            scene.keys = TestCloudKeys(rotated)
            renewed = (await scene.register(scene.ada, server.request(Operation.REGISTER, 1))).code
            request1, secret1 = _open_of(server)
            cases.append(_case("after rotation, the request's own key", renewed, request1, secret1, GOOD))
            cases.append(_case("a newer request's", renewed, request, secret, "not made for this request"))
            answer = read_code(done.code, request, secret, NOW)
            server.keys = scene.keys
            forged = write_code(request, answer, server.secret(2))
            cases.append(
                _case("another key of the cloud", forged, request, secret, "not made for this request")
            )
            associated = TestServer(scene.keys)
            number = done.number or 0
            made = await scene.associate(
                scene.ada, associated.request(Operation.ASSOCIATE, 2), number, server.id
            )
            request2, secret2 = _open_of(associated)
            cases.append(_case("associated under the new key", made.code, request2, secret2, GOOD))
    return cases


def _open_of(server: TestServer) -> tuple[OpenRequest, bytes]:
    if server.open_request is None:
        raise AssertionError("a request is open")
    return server.open_request, server.secret(server.open_request.key_number)


def _case(
    name: str,
    code: str,
    request: OpenRequest | None,
    secret: bytes,
    word: str,
    group: int = 0,
    now_ms: int = NOW,
) -> Case:
    return Case(name, code, request, secret, now_ms, word, group)


def _of_one(code: str, request: OpenRequest, secret: bytes) -> list[Case]:
    answer = read_code(code, request, secret, NOW)
    flat = code.replace("-", "")
    foreign = CodeRefusal.NOT_FOR_REQUEST.value
    cases = [
        _case("as made", code, request, secret, GOOD),
        _case("in lower case with blanks", code.lower().replace("-", " "), request, secret, GOOD),
        _case("used twice", code, None, secret, CodeRefusal.NO_OPEN_REQUEST.value),
        _case("expired", code, request, secret, CodeRefusal.EXPIRED.value, now_ms=NOW + WEEK_MS),
        _case("on its last day", code, request, secret, GOOD, now_ms=NOW + WEEK_MS - DAY_MS),
        _case("forged", write_code(request, answer, bytes(32)), request, secret, foreign),
        _case("an older request's", code, replace(request, nonce=bytes(10)), secret, foreign),
        _case(
            "wrong operation",
            write_code(request, replace(answer, operation=Operation.ASSOCIATE), secret),
            request,
            secret,
            CodeRefusal.WRONG_OPERATION.value,
        ),
    ]
    cases.extend(
        _case("another registration", _regrouped(code, answer, number), request, secret, foreign)
        for number in (answer.registration ^ 1, (answer.registration + 12345) % (1 << 30))
    )
    for at, sign in enumerate(flat):
        for other in ALPHABET:
            if other != sign:
                wrong = flat[:at] + other + flat[at + 1 :]
                word = CodeRefusal.MISTYPED.value
                cases.append(_case(f"character {at + 1}", wrong, request, secret, word, at // 6 + 1))
    return cases


def _regrouped(code: str, answer: Registered, number: int) -> str:
    """The code with another registration's number, its checks made anew: what a forger can do."""
    whole = read_groups(code, CODE_GROUPS, ErrorCode.CODE_MISTYPED, "code")
    return write_groups(whole ^ ((answer.registration ^ number) << 14 + 128), CODE_GROUPS)


# --- judging, in a process without a network ----------------------------------------------------------------


def _plain(case: Case) -> dict[str, Any]:
    made = asdict(case)
    made["secret"] = b64url(case.secret)
    if case.request is not None:
        made["request"] = [
            case.request.system_id.value,
            case.request.key_number,
            int(case.request.operation),
            b64url(case.request.nonce),
        ]
    return made


def _judge(plain: dict[str, Any]) -> str:
    """What is wrong with the answer; "" where it is right."""
    request = None
    if plain["request"] is not None:
        system_id, key_number, operation, nonce = plain["request"]
        request = OpenRequest(SystemId.parse(system_id), key_number, Operation(operation), unb64url(nonce))
    try:
        read_code(plain["code"], request, unb64url(plain["secret"]), plain["now_ms"])
    except CodeRefusedError as error:
        found, group = error.refusal.value, error.group
    else:
        found, group = GOOD, 0
    if (found, group) == (plain["word"], plain["group"]):
        return ""
    return f"{plain['name']}: {found}, group {group}; expected {plain['word']}, group {plain['group']}"


def judge(path: Path) -> int:
    """Judge the codes of a file; there must be no network but a loopback that is down."""
    links = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    wrong = [found for plain in json.loads(path.read_text()) if (found := _judge(plain))]
    print(f"interfaces there: {', '.join(links) or 'none'}" if not wrong else "; ".join(wrong[:5]))
    return 0 if not wrong and set(links) <= {"lo"} else 1


if __name__ == "__main__":
    sys.exit(judge(Path(sys.argv[1])))
