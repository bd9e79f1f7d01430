"""Types that several operations share, and what they look like from outside."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from cloud.web.problems import Problem, ProblemCode

DeviceId = Annotated[
    str, Meta(pattern="^[0-9]{1,19}$", description="Number of a device: a text, for it has 63 bits.")
]
ClaimId = Annotated[str, Meta(max_length=64, description="Name of a claim.")]
Kid = Annotated[str, Meta(max_length=64, description="Name of a device key.")]
Number = Annotated[int, Meta(ge=0, lt=1 << 53)]
Ms = Annotated[int, Meta(description="Unix time in milliseconds.")]
Email = Annotated[str, Meta(max_length=254, description="E-mail address.")]
Password = Annotated[str, Meta(max_length=1024, description="A password. It is neither stored nor quoted.")]
Code = Annotated[str, Meta(max_length=64, description="Code of the authenticator app, or a recovery code.")]
Token = Annotated[str, Meta(max_length=200, description="What a mailed link has behind its #.")]
Line = Annotated[str, Meta(max_length=500)]

TOO_LONG: Final = 1 << 63


class ProblemDetails(Struct, kw_only=True):
    """What went wrong (RFC 9457). Programs rely on ``code``; the texts are for people and may change."""

    type: Annotated[str, Meta(description="urn:smartconnect:problem: and the code.")]
    title: str
    status: int
    detail: str
    code: ProblemCode
    request_id: Annotated[str, Meta(description="Names the request in the logs.")]
    faults: Annotated[dict[str, str], Meta(description="Field → what is wrong with it.")] = {}
    missing: Annotated[list[str], Meta(description="Steps that are missing, by code.")] = []
    step: Annotated[str, Meta(description="factor_needed of a log-in: names it, to go on by a passkey.")] = ""
    methods: Annotated[
        list[str], Meta(description="factor_needed of a log-in: app, recovery_code, passkey.")
    ] = []
    scope: Annotated[str, Meta(description="scope_needed: what the token lacks.")] = ""
    challenge: Annotated[str, Meta(description="work_needed: what is to be solved.")] = ""
    bits: Annotated[int, Meta(description="work_needed: how hard it is.")] = 0
    puzzles: Annotated[int, Meta(description="work_needed: how many parts it has.")] = 0


def device_number(text: str) -> int:
    """The number of a device. A text that cannot be one is a device that does not exist."""
    number = int(text)
    if number >= TOO_LONG:
        raise Problem(ProblemCode.NOT_FOUND)
    return number
