"""What a restored database is judged by."""

from dataclasses import replace

import pytest

from cloud.core.restoring import Facts, Finding, Key, KeySetFacts, Series, Verdict, judge

NOW = 1_800_000_000_000
HOUR = 3_600_000
KEYS = KeySetFacts(NOW - HOUR, NOW - HOUR, (Key("command", NOW - HOUR, NOW + HOUR, here=True),))
GOOD = Facts(
    clock_ms=NOW,
    database_ms=NOW + 3,
    newest_ms=NOW - HOUR,
    series=(Series("epochs", 2, NOW - HOUR, 0, 0), Series("counters", 0, 0, 0, 0)),
    live_commands=0,
    queued=0,
    pending_migrations=0,
    key_set=KEYS,
    uses=("command",),
)


def found(facts: Facts, name: str) -> Finding:
    """The finding of this name."""
    return next(one for one in judge(facts) if one.name == name)


def test_a_backup_of_an_hour_ago_is_fine() -> None:
    assert {one.verdict for one in judge(GOOD)} == {Verdict.OK}
    assert "1 h 0 min old" in found(GOOD, "backup").text
    assert len({one.name for one in judge(GOOD)}) == len(judge(GOOD))


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (replace(GOOD, database_ms=NOW - 60_000), "clocks"),
        (replace(GOOD, newest_ms=NOW + 60_000), "backup"),
        (replace(GOOD, series=(Series("epochs", 2, NOW + 1, 1, 0),)), "epochs"),
        (replace(GOOD, series=(Series("counters", 2, NOW - 1, 0, 1),)), "counters"),
        (replace(GOOD, key_set=None), "key_set"),
        (replace(GOOD, key_set=replace(KEYS, version=NOW + HOUR)), "key_set"),
        (replace(GOOD, key_set=replace(KEYS, keys=())), "key_set"),
        (replace(GOOD, key_set=replace(KEYS, keys=(replace(KEYS.keys[0], here=False),))), "key_set"),
        (replace(GOOD, key_set=replace(KEYS, keys=(replace(KEYS.keys[0], not_after_ms=NOW),))), "key_set"),
        (replace(GOOD, live_commands=1), "commands"),
    ],
)
def test_what_must_be_put_right_first(facts: Facts, name: str) -> None:
    assert [one.name for one in judge(facts) if one.verdict is Verdict.BAD] == [name]


def test_what_somebody_should_know() -> None:
    facts = replace(GOOD, newest_ms=0, queued=3)
    told = [one.name for one in judge(facts) if one.verdict is Verdict.LOOK]
    assert told == ["backup", "outbox"]
    older = judge(replace(GOOD, pending_migrations=1))
    assert [one.name for one in older if one.verdict is Verdict.LOOK] == ["schema"]
    assert "3 mails" in found(facts, "outbox").text


@pytest.mark.parametrize(
    ("age_ms", "text"), [(1000, "1 s"), (120_000, "2 min"), (50 * HOUR, "2 days"), (3 * HOUR, "3 h 0 min")]
)
def test_ages_in_words(age_ms: int, text: str) -> None:
    assert f"is {text} old" in found(replace(GOOD, newest_ms=NOW - age_ms), "backup").text
