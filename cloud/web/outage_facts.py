"""What pages show of a device's outages."""

from collections.abc import Sequence

from aiohttp import web

from cloud.core.device_state import DeviceView
from cloud.core.outage import Outage
from cloud.services import outages
from cloud.web.outage_words import outage_words
from cloud.web.state import POOL, now_ms


async def newest(request: web.Request, view: DeviceView) -> list[dict[str, object]]:
    """What the device's own page shows of them."""
    at_ms = now_ms()
    past = await outages.list_outages(request.app[POOL], view, at_ms, limit=outages.SHOWN)
    return rows_of(view, past.outages, at_ms)


def rows_of(view: DeviceView, found: Sequence[Outage], at_ms: int) -> list[dict[str, object]]:
    """Outages with their words."""
    known = outages.is_known(view, at_ms)
    return [{"row": one, "words": outage_words(one, at_ms, known=known)} for one in found]
