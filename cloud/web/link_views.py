"""Where a label's QR code leads."""

from aiohttp import web

from cloud.web.middleware import public
from cloud.web.responses import page


@public
async def show_link(request: web.Request) -> web.Response:
    """``/r#<Product ID>.<Product Key>``: the codes stay in the browser, which fills them into the form.

    Somebody who is not logged in is not sent away: browsers carry the fragment over redirects.
    """
    return page(request, "link.html", {"product_id": "", "faults": {}})


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/r", show_link)
