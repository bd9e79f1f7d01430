"""What can happen to a device: the inputs of its state machine (:mod:`cloud.core.claim`)."""

from dataclasses import dataclass

from cloud.core.device import State

# --- finding an owner ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announced:
    """A live session announced the device; both signatures and the session's nonce have been verified.

    ``release``: it asks to be released, as a device does that was reset.
    """

    kid: str
    smartconnect: bool
    release: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A person who holds the label wants the device for a company."""

    claim_id: str
    company_id: int
    account_id: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Picked:
    """The claimant compared fingerprints and picked this key."""

    claim_id: str
    kid: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The claimant no longer waits."""

    claim_id: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Time has passed: whatever is due happens, claims whose time is over end."""


# --- while it is owned --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReleaseAsked:
    """The owner gives the device up."""


@dataclass(frozen=True, slots=True)
class ReleaseCancelled:
    """The owner changed their mind before the release was done."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The owner offers the device, to a company or to whoever reads this e-mail address."""

    offer_id: str
    account_id: int
    to_company_id: int | None
    to_email: str | None
    secret_hash: bytes | None


@dataclass(frozen=True, slots=True)
class OfferTaken:
    """The other side accepts; the shell has checked secret and address."""

    company_id: int
    account_id: int


@dataclass(frozen=True, slots=True)
class OfferDeclined:
    """The other side does not want it."""


@dataclass(frozen=True, slots=True)
class OfferWithdrawn:
    """The owner takes the offer back."""


@dataclass(frozen=True, slots=True)
class RekeyApproved:
    """The owner says that this key is the device's now."""

    kid: str


@dataclass(frozen=True, slots=True)
class RekeyDismissed:
    """The owner does not know this key."""

    kid: str


@dataclass(frozen=True, slots=True)
class SecondHandAsked:
    """A claimant says that the owner is gone and that the device announces with this new key."""

    company_id: int
    account_id: int
    kid: str
    claim_id: str


@dataclass(frozen=True, slots=True)
class Objected:
    """The owner is not gone."""


@dataclass(frozen=True, slots=True)
class DisputeDismissed:
    """The owner, or an operator, does not follow this claimant."""

    company_id: int


@dataclass(frozen=True, slots=True)
class DisputeWithdrawn:
    """The claimant gives up."""

    company_id: int


@dataclass(frozen=True, slots=True)
class DisputeGranted:
    """An operator decides for the claimant."""

    company_id: int


@dataclass(frozen=True, slots=True)
class CloneSuspected:
    """Two live holders of one device key took turns."""

    kid: str


@dataclass(frozen=True, slots=True)
class CloneCleared:
    """The owner or an operator says that there is no clone."""


@dataclass(frozen=True, slots=True)
class StolenMarked:
    """The owner says that the device was stolen."""


@dataclass(frozen=True, slots=True)
class StolenLifted:
    """The owner has it back."""


@dataclass(frozen=True, slots=True)
class OwnerLeft:
    """The owner's company is closed; its devices go to another company, or to nobody."""

    to_company_id: int | None
    account_id: int | None


Input = (
    Announced
    | Claimed
    | Picked
    | Cancelled
    | Expired
    | ReleaseAsked
    | ReleaseCancelled
    | Offered
    | OfferTaken
    | OfferDeclined
    | OfferWithdrawn
    | RekeyApproved
    | RekeyDismissed
    | SecondHandAsked
    | Objected
    | DisputeDismissed
    | DisputeWithdrawn
    | DisputeGranted
    | CloneSuspected
    | CloneCleared
    | StolenMarked
    | StolenLifted
    | OwnerLeft
)


class IllegalTransitionError(Exception):
    """An input that has no meaning in this state; nothing was changed."""

    def __init__(self, state: State, what: Input) -> None:
        super().__init__(f"{type(what).__name__} has no meaning while a device is {state}")
        self.state = state
        self.what = what
