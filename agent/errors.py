"""What can go wrong in the agent.

::

    AgentError
    ├── ConfigError               a setting that does not exist, or a value that does not fit
    ├── StateError                key or state files that are missing, damaged or open to others
    │   └── LockedError           another agent works on them
    ├── LinkError                 the line to a UPS
    │   ├── LinkDownError         no connection, no answer, or garbage: try again later
    │   │   └── LinkUnsureError   a write went out and no answer came: it may have been carried out
    │   ├── LinkRefusedError      the UPS answered with a Modbus exception
    │   └── LinkUntrustedError    the verification block is not what it must be
    ├── SystemRefusedError        a server of a building system does not do this, with a stable code
    ├── ServerLinkError           the line between two servers of a building system
    └── UplinkError               the line to the cloud
        ├── UplinkDownError       no connection, or it broke
        │   └── UplinkDatesError  the gateway's certificate fails on its dates alone
        └── UplinkRefusedError    the cloud said no to the log-in
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of everything the agent raises for others to handle."""


class ConfigError(AgentError):
    """A setting that does not exist, or a value that does not fit; the text says which and from where."""


class StateError(AgentError):
    """Key or state files that are missing, damaged, or readable by others."""


class LockedError(StateError):
    """Another agent works on this state directory."""


class LinkError(AgentError):
    """The line to a UPS failed."""


class LinkDownError(LinkError):
    """No connection, no answer, or an answer that makes no sense."""


class LinkUnsureError(LinkDownError):
    """A write went out and no answer came back: whether it was carried out must be read, not tried again."""


class LinkRefusedError(LinkError):
    """The UPS answered with a Modbus exception."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: Modbus exception {code}")
        self.code = code


class LinkUntrustedError(LinkError):
    """The constants of the verification block are wrong, so no other value can be trusted."""


class SystemRefusedError(AgentError):
    """A server of a building system does not do this; ``code`` is stable, the text says what to do next."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


class ServerLinkError(AgentError):
    """No line to another server, or it broke; the text says what to do about it."""


class UplinkError(AgentError):
    """The line to the cloud failed."""


class UplinkDownError(UplinkError):
    """No connection, or it broke."""


class UplinkDatesError(UplinkDownError):
    """The gateway's certificate fails on its dates alone: one of the two clocks is wrong."""


class UplinkRefusedError(UplinkError):
    """The cloud refused the log-in."""

    def __init__(self, reason: int, text: str) -> None:
        super().__init__(f"the gateway refused the log-in: {text} ({reason:#04x})")
        self.reason = reason
