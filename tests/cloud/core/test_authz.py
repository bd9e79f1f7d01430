"""Roles and what they may do."""

import pytest

from cloud.core.authz import ALLOWED, Action, Actor, NotAllowedError, Role


def test_every_action_has_its_roles_and_owners_may_all() -> None:
    assert set(ALLOWED) == set(Action)
    assert all(Role.OWNER in roles for roles in ALLOWED.values())


def test_a_viewer_sees_and_nothing_else() -> None:
    viewer = Actor(1, 2, Role.VIEWER)
    assert [action for action in Action if viewer.may(action)] == [Action.SEE]
    viewer.must(Action.SEE)
    with pytest.raises(NotAllowedError, match="viewer may not claim"):
        viewer.must(Action.CLAIM)
