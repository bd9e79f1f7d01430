"""Messages of the wire with harmless values, for tests that need any one."""

from protocol.identity import kid_of
from protocol.messages import Hello


def hello(**changes: object) -> Hello:
    """A hello to some device."""
    values: dict[str, object] = {
        "kid": kid_of(bytes(32)),
        "login_ms": 1,
        "n": 1,
        "server_time_ms": 2,
        "nonce": bytes(32),
        "owned": False,
    }
    return Hello(**(values | changes))  # type: ignore[arg-type]  # fields of a hello
