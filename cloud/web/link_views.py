"""Where a label's QR code leads, and the page that explains what can come between a person and a UPS."""

from aiohttp import web

from cloud.web.middleware import public
from cloud.web.responses import page
from cloud.web.state import SETTINGS


@public
async def show_link(request: web.Request) -> web.Response:
    """``/r#<Product ID>.<Product Key>``: the codes stay in the browser, which fills them into the form.

    Somebody who is not logged in is not sent away: browsers carry the fragment over redirects.
    """
    return page(request, "link.html", {"product_id": "", "faults": {}})


@public
async def show_issues(request: web.Request) -> web.Response:
    """*Adding your device: issues*."""
    return page(request, "help_adding.html", {"pending_days": request.app[SETTINGS].pending_days})


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/r", show_link)
    app.router.add_get("/help/adding-your-device", show_issues)
