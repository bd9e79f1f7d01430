"""The device that a page is about: the one of its path, if it is ours."""

from aiohttp import web

from cloud.core.device_state import DeviceView
from cloud.postgres import devices
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, session_of


def device_id_of_path(request: web.Request) -> int:
    """The device named in the path; a number that cannot be one is a device that does not exist."""
    number = int(request.match_info["device_id"])
    if number >= 1 << 63:
        raise Problem(ProblemCode.NOT_FOUND)
    return number


async def own_device(request: web.Request) -> DeviceView:
    """The device of the path if the session's company owns it; else it does not exist."""
    view = await devices.find_view(
        request.app[POOL], session_of(request).company_id, device_id_of_path(request)
    )
    if view is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return view
