"""Acceptance ``system-tenancy``: nobody else sees or changes a registered system; its history names who did.

The tests that ask every route of the portal with another account's ids are run, and it is looked that they
know every route of systems; so are those that read the history field by field.
"""

import re
from typing import Final

from cloud.web import registration_page_views, registration_views
from cloud.web.api import systems
from tests.accept import expect, passed, progress
from tests.accept._seed_table import ROOT, run
from tests.support.foreign import FORMS

STRANGER: Final = "tests/cloud/web/test_stranger.py"
LIFE: Final = "tests/cloud/services/test_system_life.py"
PROGRAMS: Final = "tests/cloud/web/test_system_programs.py"
TESTS: Final = {
    (STRANGER, "test_no_route_gives_a_stranger_anything"),
    (STRANGER, "test_a_foreign_thing_is_answered_like_one_that_is_not"),
    (STRANGER, "test_without_a_log_in_only_open_routes_answer"),
    (LIFE, "test_rights_follow_the_slots_and_every_change_is_in_the_history"),
    (LIFE, "test_a_viewer_looks_and_changes_nothing"),
    (LIFE, "test_offers_are_withdrawn_declined_and_made_once"),
    (PROGRAMS, "test_tokens_have_their_scopes_for_systems_and_stand_for_no_person"),
    (PROGRAMS, "test_programs_see_what_waits_and_stop_it"),
    (PROGRAMS, "test_programs_look_at_offers_decline_and_withdraw_them"),
    ("tests/cloud/web/test_registered_systems.py", "test_the_same_for_programs"),
    ("tests/cloud/web/test_registered_systems.py", "test_who_waits_may_stop_and_nobody_else_sees_it"),
}


def main() -> int:
    """Run the check."""
    operations = len(systems.SECTION.operations)
    source = "".join(
        (ROOT / module.__name__.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        for module in (registration_views, registration_page_views)
    )
    pages = set(re.findall(r'add_(?:get|post)\(\s*f?"(/systems[^"]*)"', source))
    posted = set(re.findall(r'add_post\(\s*"(/systems[^"{]*)"', source))
    expect(operations >= 13 and len(pages) >= 8, f"{operations} operations, {len(pages)} pages")
    expect(posted <= set(FORMS), f"forms that no stranger has sent: {sorted(posted - set(FORMS))}")
    progress(f"{operations} operations, {len(pages)} addresses of pages, {len(TESTS)} tests")
    counts = run(TESTS)
    lost = sorted(f"{file}::{name}" for file, name in TESTS if not counts[file, name])
    expect(not lost, f"these did not run: {lost}")
    return passed(
        "system-tenancy",
        f"{operations} operations and {len(pages)} addresses of pages asked with another account's ids;"
        f" {sum(counts.values())} tests, all passed; history by field, old and new value, person and time",
    )
