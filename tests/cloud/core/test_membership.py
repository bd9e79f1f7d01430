"""Who may invite, promote and remove whom: every pair of roles."""

from itertools import product

import pytest

from cloud.core.authz import Role
from cloud.core.membership import manageable, must_change_role, must_invite, must_remove
from cloud.core.refusal import RefusalCode, RefusedError

HEADS = {Role.OWNER, Role.ADMIN}


@pytest.mark.parametrize(("actor", "role"), [*product(Role, Role)])
def test_inviting(actor: Role, role: Role) -> None:
    may = actor is Role.OWNER or (actor is Role.ADMIN and role is not Role.OWNER)
    assert (role in manageable(actor)) is may
    if may:
        must_invite(actor, role)
    else:
        with pytest.raises(RefusedError) as caught:
            must_invite(actor, role)
        assert caught.value.code is RefusalCode.ROLE_NOT_ALLOWED


@pytest.mark.parametrize(("actor", "before", "after"), [*product(Role, Role, Role)])
def test_changing_roles_keeps_an_owner(actor: Role, before: Role, after: Role) -> None:
    may = before in manageable(actor) and after in manageable(actor)
    for owners in (1, 2):
        last = before is Role.OWNER and after is not Role.OWNER and owners == 1
        if may and not last:
            must_change_role(actor, before, after, owners=owners)
            continue
        with pytest.raises(RefusedError) as caught:
            must_change_role(actor, before, after, owners=owners)
        wanted = RefusalCode.LAST_OWNER if may else RefusalCode.ROLE_NOT_ALLOWED
        assert caught.value.code is wanted


@pytest.mark.parametrize(("actor", "member"), [*product(Role, Role)])
def test_removing_and_leaving(actor: Role, member: Role) -> None:
    if member in manageable(actor):
        must_remove(actor, member, self_removal=False, owners=2, members=3)
    else:
        with pytest.raises(RefusedError):
            must_remove(actor, member, self_removal=False, owners=2, members=3)
    if actor is member and actor is not Role.OWNER:
        must_remove(actor, member, self_removal=True, owners=1, members=2)


@pytest.mark.parametrize(("owners", "members", "may"), [(1, 2, False), (2, 2, True), (1, 1, True)])
def test_the_last_owner_leaves_last(owners: int, members: int, may: bool) -> None:
    if may:
        must_remove(Role.OWNER, Role.OWNER, self_removal=True, owners=owners, members=members)
    else:
        with pytest.raises(RefusedError) as caught:
            must_remove(Role.OWNER, Role.OWNER, self_removal=True, owners=owners, members=members)
        assert caught.value.code is RefusalCode.LAST_OWNER
