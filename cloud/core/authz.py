"""Who may do what: one table of actions and roles.

Rights on a device come from its owner's company: whoever is no member there is answered as if the device did
not exist, so this module only ever judges people about devices and claims of their own company.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a member is in a company. Append only: the values are stored."""

    OWNER = "owner"
    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"


class Action(StrEnum):
    """What a person may want to do with devices."""

    SEE = "see"
    CLAIM = "claim"
    NAME = "name"
    RELEASE = "release"
    TRANSFER = "transfer"
    REKEY = "rekey"
    JUDGE = "judge"
    """Answer claimants, mark as stolen, clear a suspicion."""
    MEMBERS = "members"
    """Invite, promote and remove, within the rules of :mod:`cloud.core.membership`."""
    COMPANY = "company"
    """Change what the company says about itself."""
    CONTROL = "control"
    """Send commands; outlets need more than the role, see :mod:`cloud.core.command`."""
    SETTINGS = "settings"
    """Change what a device is set to."""
    RULES = "rules"
    """Make and change threshold rules."""
    NOTIFY = "notify"
    """Say who is told what, acknowledge alarms, plan maintenance, arrange sites."""


_EVERYONE: Final = frozenset(Role)
_WORKERS: Final = frozenset({Role.OWNER, Role.ADMIN, Role.OPERATOR})
_HEADS: Final = frozenset({Role.OWNER, Role.ADMIN})

ALLOWED: Final[Mapping[Action, frozenset[Role]]] = MappingProxyType(
    {
        Action.SEE: _EVERYONE,
        Action.CLAIM: _WORKERS,
        Action.NAME: _WORKERS,
        Action.RELEASE: _HEADS,
        Action.TRANSFER: _HEADS,
        Action.REKEY: _HEADS,
        Action.JUDGE: _HEADS,
        Action.MEMBERS: _HEADS,
        Action.COMPANY: _HEADS,
        Action.CONTROL: _WORKERS,
        Action.SETTINGS: _WORKERS,
        Action.RULES: _WORKERS,
        Action.NOTIFY: _WORKERS,
    }
)
"""Which roles may do it."""


class NotAllowedError(Exception):
    """A member whose role does not include this action."""

    def __init__(self, action: Action, role: Role) -> None:
        super().__init__(f"The role {role} may not {action}.")
        self.action = action
        self.role = role


@dataclass(frozen=True, slots=True)
class Actor:
    """A logged-in person acting for a company."""

    account_id: int
    company_id: int
    role: Role

    def may(self, action: Action) -> bool:
        """Whether this role includes the action."""
        return self.role in ALLOWED[action]

    def must(self, action: Action) -> None:
        """NotAllowedError unless this role includes the action."""
        if not self.may(action):
            raise NotAllowedError(action, self.role)
