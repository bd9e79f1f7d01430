"""The mailbox of an installation that is only tried out: every mail it would have sent, readable by all.

There are no such pages unless the setting ``mail`` is ``mailbox``.
"""

from typing import Final

from aiohttp import web

from cloud.postgres import outbox
from cloud.web.middleware import public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.state import POOL, SETTINGS

SHOWN: Final = 50
MAX_ADDRESS_CHARS: Final = 254


@public
async def show_mailbox(request: web.Request) -> web.Response:
    """The newest mails, of everybody or to one address (``?to=``)."""
    address = request.query.get("to", "").strip()[:MAX_ADDRESS_CHARS]
    mails = await outbox.newest(request.app[POOL], limit=SHOWN, to_address=address or None)
    return page(request, "mailbox.html", {"mails": mails, "address": address})


@public
async def show_mail(request: web.Request) -> web.Response:
    """One mail with its links."""
    letter = await outbox.read(request.app[POOL], int(request.match_info["mail_id"]))
    if letter is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return page(request, "mail.html", {"mail": letter})


def add_routes(app: web.Application) -> None:
    """Register these views where the installation is tried out."""
    if app[SETTINGS].mail == "mailbox":
        app.router.add_get("/mailbox", show_mailbox)
        app.router.add_get(r"/mailbox/{mail_id:\d{1,18}}", show_mail)
