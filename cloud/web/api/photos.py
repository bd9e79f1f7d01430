"""Photos of labels for programs: what their QR codes say, and nothing is kept.

The bounds are those of the page (:mod:`cloud.services.label_photos`): a photo is let in before its bytes are
read, and is searched in a process of its own.
"""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.authz import Action
from cloud.core.language import gettext
from cloud.services.label_photos import MAX_BYTES, RETRY_AFTER_S, BusyError, PhotoError
from cloud.web import uploads
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.scan_views import FAULTS, PHOTOS
from cloud.web.state import actor_of

SECTION: Final = Section(
    "Label photos", "The codes of labels, read from a photo of them.", reads=Scope.CLAIMS, writes=Scope.CLAIMS
)


class ReadLabel(Struct):
    """The two codes of a label, as a claim takes them. The Product Key is a secret."""

    product_id: str
    product_key: str


class ReadLabels(Struct):
    """The labels of a photo from top to bottom, each once; there may be none."""

    labels: list[ReadLabel]
    others: Annotated[list[str], Meta(description="What QR codes said that are no labels', shortened.")]


@SECTION.operation(
    "POST",
    "/label-photos",
    problems=[ProblemCode.FORBIDDEN, ProblemCode.TOO_LARGE, ProblemCode.PHOTO_REFUSED, ProblemCode.BUSY],
    has_secret=True,
    upload=f"A JPEG, a PNG, or what else the installation can open; {MAX_BYTES >> 20} MB at most.",
)
async def read_labels(request: web.Request) -> ReadLabels:
    """Read the labels in a photo.

    The body is the photo itself, as the camera wrote it; its Content-Type does not matter. Claim with what is
    found by `POST /claims`. Nothing is kept of the photo, nor of the answer.
    """
    actor = actor_of(request)
    actor.must(Action.CLAIM)
    photos = request.app[PHOTOS]
    try:
        with photos.admit(actor.account_id):
            found = await photos.search(await uploads.receive_plain(request))
    except BusyError:
        raise Problem(ProblemCode.BUSY, retry_after_s=RETRY_AFTER_S) from None
    except PhotoError as error:
        why = {"reason": error.code.value}
        raise Problem(ProblemCode.PHOTO_REFUSED, detail=gettext(FAULTS[error.code]), more=why) from None
    labels = [ReadLabel(one.product_id.value, one.product_key.value) for one in found.labels]
    return ReadLabels(labels, list(found.others))
