"""Adding a device by the QR code of its label: the scanner in the page, and photos that are read here."""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.language import N_, gettext
from cloud.services.label_photos import RETRY_AFTER_S, BusyError, Found, LabelPhotos, PhotoError, PhotoFault
from cloud.web import uploads
from cloud.web.middleware import CONTENT_SECURITY_POLICY, SECURITY_HEADERS, takes_upload
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.state import actor_of

PHOTOS: Final = web.AppKey("photos", LabelPhotos)
SCANNER_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY.replace(
        "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'"
    ),
    "Permissions-Policy": SECURITY_HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)"),
}
"""On the scanner's page only: its camera, and the WebAssembly that reads codes."""
FAULTS: Final = {
    PhotoFault.NO_PICTURE: N_(
        "This file is not a picture that can be read here. Please send a JPEG or a PNG."
    ),
    PhotoFault.TOO_MANY_PIXELS: N_("This picture has too many pixels. Choose a smaller size in the camera."),
    PhotoFault.TOO_HARD: N_(
        "This picture could not be searched. Please take another one, of the label only."
    ),
}
NOTHING_CHOSEN: Final = N_("Please take a photo of the label, or choose one.")
NOTHING_FOUND: Final = N_("No QR code was found in this photo.")
NO_LABEL: Final = N_("No QR code in this photo holds a Product ID and a Product Key.")


async def show_scanner(request: web.Request) -> web.Response:
    """*QR Code Scan*."""
    actor_of(request).must(Action.CLAIM)
    return _scanner(request)


def _scanner(
    request: web.Request, fault: str = "", others: tuple[str, ...] = (), status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    response = page(request, "scan.html", {"fault": gettext(fault), "others": others}, status=status.value)
    response.headers.update(SCANNER_HEADERS)
    return response


@takes_upload
async def read_photo(request: web.Request) -> web.Response:
    """The labels in a photo: one fills in *Register UPS*, of several people pick. Nothing is kept of it."""
    actor = actor_of(request)
    actor.must(Action.CLAIM)
    photos = request.app[PHOTOS]
    try:
        with photos.admit(actor.account_id):
            photo = await uploads.receive(request)
            if not photo:
                return _scanner(request, NOTHING_CHOSEN, status=HTTPStatus.UNPROCESSABLE_ENTITY)
            found = await photos.search(photo)
    except BusyError:
        raise Problem(ProblemCode.BUSY, retry_after_s=RETRY_AFTER_S) from None
    except PhotoError as error:
        return _scanner(request, FAULTS[error.code], status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if not found.labels:
        fault = NO_LABEL if found.others else NOTHING_FOUND
        return _scanner(request, fault, found.others, HTTPStatus.UNPROCESSABLE_ENTITY)
    return page(request, "photo.html", photo_context(found))


def photo_context(found: Found) -> dict[str, object]:
    """What the page of a photo's labels needs to know."""
    return {
        "labels": [(label.product_id.value, label.product_key.value) for label in found.labels],
        "others": found.others,
        "product_id": found.labels[0].product_id.value,
        "product_key": found.labels[0].product_key.value,
        "faults": {},
    }


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app[PHOTOS] = LabelPhotos()
    app.router.add_get("/add/scan", show_scanner)
    app.router.add_post("/add/photo", read_photo)
