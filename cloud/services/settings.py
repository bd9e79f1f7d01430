"""Settings of a device: shown from both sides, changed by its owner's people, signed for the device.

A change is one transaction of one device. What lives in the cloud is in force with it; what lives in the
device becomes a wish, is signed with the command key, which gateways do not have, and waits until the device
has considered it (:mod:`cloud.core.settings` says who wins).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from cloud.core.authz import Action, Actor
from cloud.core.language import N_
from cloud.core.settings import (
    ChangeState,
    Made,
    Note,
    Origin,
    SettingState,
    Shadow,
    of_epoch,
    state_of,
    wish,
)
from cloud.postgres import claims
from cloud.postgres import settings as stored
from cloud.postgres.pool import Pool
from cloud.postgres.settings import Change, Profile
from cloud.postgres.transaction import Connection, in_transaction
from cloud.provision import Signer
from cloud.services.naming import UnknownDeviceError
from cloud.services.profile import time_zones
from protocol.messages import Desired, Scalar
from protocol.settings import BY_SETTING, CATALOGUE, Home, Setting, SettingCode, SettingError, check
from protocol.signing import seal_control

BEFORE: Final = "settings.save.before"
AFTER: Final = "settings.save.after"

log = structlog.get_logger()


class SettingsRefusedError(Exception):
    """Nothing was changed; ``faults`` says of each setting why not."""

    def __init__(self, faults: Mapping[str, SettingError]) -> None:
        super().__init__(" ".join(str(fault) for fault in faults.values()))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class SettingView:
    """One setting from both sides. ``value`` is in force, None where nobody knows; ``wanted`` waits."""

    setting: Setting
    state: SettingState
    value: Scalar
    wanted: Scalar
    at_device_ms: int | None
    last: Change | None

    @property
    def shown(self) -> Scalar:
        """What a form shows: what it is to be."""
        return self.value if self.wanted is None else self.wanted


@dataclass(frozen=True, slots=True)
class SettingsView:
    """All settings of a device in its present ownership, and the newest changes."""

    epoch: int
    version: int
    base_version: int
    reported_ms: int
    settings: tuple[SettingView, ...]
    changes: tuple[Change, ...]

    def of(self, name: str) -> SettingView:
        """One of them; KeyError where the device does not have it."""
        for view in self.settings:
            if view.setting.name == name:
                return view
        raise KeyError(name)


async def look(pool: Pool, actor: Actor, device_id: int) -> SettingsView:
    """The settings of a device of the actor's company. UnknownDeviceError."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> SettingsView:
        return await _look(connection, actor, device_id)

    return await in_transaction(pool, work)


async def save(
    pool: Pool, signer: Signer, actor: Actor, device_id: int, wanted: Mapping[str, object], now_ms: int
) -> SettingsView:
    """Change settings of a device of the actor's company, all of them or none.

    Raises NotAllowedError, UnknownDeviceError, SettingsRefusedError, DatabaseUnavailableError.
    """
    actor.must(Action.SETTINGS)

    async def work(connection: Connection) -> SettingsView:
        if not await claims.lock_known(connection, device_id):
            raise UnknownDeviceError(device_id)
        profile = await _profile(connection, actor, device_id)
        shadow = of_epoch(await stored.lock(connection, device_id), profile.epoch)
        _check(shadow, wanted)
        notes = await _save_profile(connection, actor, device_id, profile, wanted, now_ms)
        of_device = {n: v for n, v in wanted.items() if BY_SETTING[n].home is not Home.CLOUD}
        after, wishes = wish(shadow, of_device, actor.account_id, now_ms)
        if wishes:
            sealed = _seal(signer, profile.kid, after)
            await stored.store(
                connection, device_id, after, wishes, sealed=sealed, kid=profile.kid, now_ms=now_ms
            )
        await stored.add_notes(connection, device_id, profile.epoch, notes, now_ms)
        changed = sorted({note.name for note in (*notes, *wishes)})
        if changed:
            await claims.audit(
                connection,
                device_id,
                "settings",
                now_ms,
                epoch=profile.epoch,
                company_id=actor.company_id,
                account_id=actor.account_id,
                names=" ".join(changed),
            )
            await claims.tell(connection, device_id)
        return await _look(connection, actor, device_id)

    return await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)


async def reseal(pool: Pool, signer: Signer, device_id: int) -> bool:
    """Sign open wishes for the key that the device has now; whether there were any for another one."""

    async def work(connection: Connection) -> bool:
        if not await claims.lock_known(connection, device_id):
            return False
        epoch, kid = await stored.bound_key(connection, device_id)
        shadow = await stored.lock(connection, device_id)
        before = await stored.open_kid(connection, device_id)
        if not kid or before in {None, kid} or shadow.epoch != epoch:
            return False
        sealed = _seal(signer, kid, shadow)
        await stored.store(connection, device_id, shadow, (), sealed=sealed, kid=kid, now_ms=0)
        await claims.tell(connection, device_id)
        return True

    resealed = await in_transaction(pool, work, before_commit=BEFORE, after_commit=AFTER)
    if resealed:
        log.info("wanted settings signed for a new key", device_id=device_id)
    return resealed


# --- inside -------------------------------------------------------------------------------------------------


def _seal(signer: Signer, kid: str, shadow: Shadow) -> bytes:
    desired = Desired(
        kid=kid,
        epoch=shadow.epoch,
        version=shadow.version,
        settings={name: one.value for name, one in shadow.wishes.items()},
        set_ms={name: one.set_ms for name, one in shadow.wishes.items()},
    )
    return seal_control(desired, signer.key_id, signer.key)


def _check(shadow: Shadow, wanted: Mapping[str, object]) -> None:
    """SettingsRefusedError with everything that is wrong."""
    faults: dict[str, SettingError] = {}
    for name, value in wanted.items():
        try:
            _check_one(shadow, name, value)
        except SettingError as fault:
            faults[name] = fault
    if faults:
        raise SettingsRefusedError(faults)


def _check_one(shadow: Shadow, name: str, value: object) -> None:
    kept = check(name, value)
    if BY_SETTING[name].home is not Home.CLOUD:
        wish(shadow, {name: value}, None, 0)
    elif name == "time_zone" and kept not in time_zones():
        raise SettingError(name, SettingCode.NOT_A_CHOICE, N_("Please choose a time zone."))


async def _profile(connection: Connection, actor: Actor, device_id: int) -> Profile:
    found = await stored.find_profile(connection, device_id, actor.company_id)
    if found is None:
        raise UnknownDeviceError(device_id)
    return found


def _values_of(profile: Profile) -> dict[str, Scalar]:
    return {name: getattr(profile, name) for name in stored.CLOUD_COLUMNS}


async def _save_profile(
    connection: Connection,
    actor: Actor,
    device_id: int,
    profile: Profile,
    wanted: Mapping[str, object],
    now_ms: int,
) -> tuple[Note, ...]:
    """Write what lives in the cloud; what is to be written down of it."""
    before = _values_of(profile)
    after = {name: check(name, wanted[name]) if name in wanted else value for name, value in before.items()}
    if after == before:
        return ()
    await stored.store_profile(connection, device_id, profile.epoch, after)
    return tuple(
        Made(name, value, Origin.PORTAL, now_ms, 0, ChangeState.IN_FORCE, actor.account_id)
        for name, value in after.items()
        if value != before[name]
    )


async def _look(connection: Connection, actor: Actor, device_id: int) -> SettingsView:
    profile = await _profile(connection, actor, device_id)
    shadow = of_epoch(await stored.load(connection, device_id), profile.epoch)
    last = await stored.last_changes(connection, device_id, profile.epoch)
    changes = await stored.list_changes(connection, device_id, profile.epoch)
    known = _values_of(profile)
    views = [
        _view(setting, shadow, known, last.get(setting.name))
        for setting in CATALOGUE
        if setting.home is not Home.REGISTER
        or setting.name in shadow.reported
        or setting.name in shadow.wishes
    ]
    return SettingsView(
        epoch=profile.epoch,
        version=shadow.version,
        base_version=shadow.base_version,
        reported_ms=shadow.reported_ms,
        settings=tuple(views),
        changes=tuple(changes),
    )


def _view(setting: Setting, shadow: Shadow, known: Mapping[str, Scalar], last: Change | None) -> SettingView:
    if setting.home is Home.CLOUD:
        return SettingView(setting, SettingState.IN_FORCE, known[setting.name], None, None, last)
    refused = last is not None and last.state is ChangeState.REFUSED
    waiting = shadow.wishes.get(setting.name)
    return SettingView(
        setting,
        state_of(shadow, setting.name, refused=refused),
        shadow.reported.get(setting.name),
        None if waiting is None else waiting.value,
        shadow.at_device.get(setting.name),
        last,
    )
