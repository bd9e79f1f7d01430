"""The UPS Profile: what the owner's company calls a device."""

from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.language import gettext
from cloud.core.settings import ChangeState, Made, Origin
from cloud.postgres import claims, devices, settings
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction

NAME_MAX_CHARS: Final = 60
DESCRIPTION_MAX_CHARS: Final = 200


class ProfileError(Exception):
    """Something typed cannot be shown; ``field`` names it, the text tells the person why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownDeviceError(Exception):
    """The company owns no such device now."""


async def save_profile(
    pool: Pool, actor: Actor, device_id: int, *, name: str, description: str, now_ms: int
) -> None:
    """Name and describe a device of the actor's company; an empty name shows its model again.

    Raises NotAllowedError, ProfileError, UnknownDeviceError, DatabaseUnavailableError.
    """
    actor.must(Action.NAME)
    name = _text("name", gettext("UPS Name"), name, NAME_MAX_CHARS)
    description = _text("description", gettext("UPS Description"), description, DESCRIPTION_MAX_CHARS)

    async def work(connection: Connection) -> None:
        known = await claims.lock_known(connection, device_id)
        before = await settings.find_profile(connection, device_id, actor.company_id) if known else None
        if before is None:
            raise UnknownDeviceError(device_id)
        await devices.set_profile(
            connection,
            device_id,
            company_id=actor.company_id,
            account_id=actor.account_id,
            name=name,
            description=description,
            now_ms=now_ms,
        )
        notes = [
            Made(field, value, Origin.PORTAL, now_ms, 0, ChangeState.IN_FORCE, actor.account_id)
            for field, value, old in (
                ("name", name, before.name),
                ("description", description, before.description),
            )
            if value != old
        ]
        await settings.add_notes(connection, device_id, before.epoch, notes, now_ms)

    await in_transaction(pool, work)


def _text(field: str, label: str, text: str, limit: int) -> str:
    value = " ".join(text.split())
    if len(value) > limit:
        raise ProfileError(
            field, gettext("The {label} may have {limit} characters at most.", label=label, limit=limit)
        )
    if not value.isprintable():
        raise ProfileError(field, gettext("The {label} holds a character that cannot be shown.", label=label))
    return value
