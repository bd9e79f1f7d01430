"""Members of a company: who may invite, promote and remove whom (pure rules).

Owners may everything; admins manage admins, operators and viewers, but neither make nor touch an owner. A
company always keeps an owner. Anybody may leave, except its last owner while others remain.
"""

from cloud.core.authz import Role
from cloud.core.refusal import RefusalCode, RefusedError

INVITATION_LIFE_MS = 14 * 86_400_000
"""Over a holiday; an invitation can be sent again."""

_MANAGES = {
    Role.OWNER: frozenset(Role),
    Role.ADMIN: frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER}),
    Role.OPERATOR: frozenset[Role](),
    Role.VIEWER: frozenset[Role](),
}


def manageable(role: Role) -> frozenset[Role]:
    """The roles that somebody of this role may give and take."""
    return _MANAGES[role]


def must_invite(actor: Role, role: Role) -> None:
    """RefusedError unless ``actor`` may make somebody a ``role``."""
    if role not in _MANAGES[actor]:
        raise RefusedError(RefusalCode.ROLE_NOT_ALLOWED)


def must_change_role(actor: Role, before: Role, after: Role, *, owners: int) -> None:
    """RefusedError unless ``actor`` may turn a member of role ``before`` into ``after``."""
    if before not in _MANAGES[actor] or after not in _MANAGES[actor]:
        raise RefusedError(RefusalCode.ROLE_NOT_ALLOWED)
    if before is Role.OWNER and after is not Role.OWNER and owners <= 1:
        raise RefusedError(RefusalCode.LAST_OWNER)


def must_remove(actor: Role, member: Role, *, self_removal: bool, owners: int, members: int) -> None:
    """RefusedError unless ``actor`` may remove a member of this role (or leave)."""
    if not self_removal and member not in _MANAGES[actor]:
        raise RefusedError(RefusalCode.ROLE_NOT_ALLOWED)
    if member is Role.OWNER and owners <= 1 and (members > 1 or not self_removal):
        raise RefusedError(RefusalCode.LAST_OWNER)
