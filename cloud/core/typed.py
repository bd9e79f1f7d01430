"""What is wrong with a code that somebody typed, in the language that is spoken."""

from cloud.core.language import gettext
from protocol.errors import ProtocolError


def fault_of(error: ProtocolError) -> str:
    """The error's words for people; the protocol itself speaks English."""
    return gettext(error.message, **error.values)
