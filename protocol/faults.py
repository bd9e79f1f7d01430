"""Named fault points: places where a test may stop or kill the process that reaches them.

``reach(name)`` costs one comparison while nothing is armed, which is always so outside tests. Only a shell's
``app.py`` arms a point, and only when its test switch is set; the action (kill, hold) is the shell's.
"""

from collections.abc import Callable

POINTS: dict[str, str] = {
    "agent.spool.append": "before a record is written to the spool",
    "agent.spool.fsync": "after the write, before the fsync",
    "agent.spool.rename": "before a spool segment or position file is renamed into place",
    "agent.spool.trim": "before acknowledged records are deleted",
    "agent.publish": "before a message is handed to the MQTT client",
    "agent.puback": "after a PUBACK arrived, before the spool is told",
    "agent.serial.write": "before a register is written",
    "agent.command.persist": "before a command's counter and its start are made durable",
    "agent.command.started": "after a command's counter and start are durable, before the UPS is told",
    "agent.command.written": "after the UPS was told, before it is read back",
    "agent.command.read_back": "after the effect of a command was read back, before its result is durable",
    "agent.command.result": "after a command's result is durable, before it is published",
    "agent.command.publish": "before a command's result is published",
    "agent.command.puback": "after the cloud has taken a command's result, before it is forgotten",
    "agent.system.before": "before the database of a building system's server is written",
    "agent.system.after": "after the database of a building system's server is durable, before anybody hears",
    "gateway.fence": "after the fence update, before the COPY",
    "gateway.commit.before": "before a batch is committed",
    "gateway.commit.after": "after a batch is committed, before its PUBACKs",
    "gateway.puback": "before PUBACKs are written to the socket",
    "gateway.announce.before": "before the transaction of an announcement commits",
    "gateway.announce.after": "after the transaction of an announcement committed",
    "gateway.hello": "before a hello is sent",
    "gateway.settings": "before wanted settings are handed to a session",
    "settings.save.before": "before the transaction of a change of settings commits",
    "settings.save.after": "after the transaction of a change of settings committed",
    "agent.settings.remember": "before the agent writes down what it knows of its settings",
    "agent.settings.written": "after a setting was written to a register, before that is written down",
    "gateway.command.before": "before it is committed that a session gets a command",
    "gateway.command.after": "after it was committed that a session gets a command, before it is sent",
    "command.request.before": "before the transaction of a command that somebody asked for commits",
    "command.request.after": "after the transaction of a command that somebody asked for committed",
    "command.schedule.before": "before it is committed what a try of a scheduled command came to",
    "command.schedule.after": "after it was committed what a try of a scheduled command came to",
    "command.end.before": "before it is committed that the time of a device's commands is over",
    "command.end.after": "after it was committed that the time of a device's commands is over",
    "presence.tell.before": "before it is committed that a device is away, or back",
    "presence.tell.after": "after it was committed that a device is away, or back",
    "rules.judge.before": "before it is committed what a piece of samples did to rules",
    "rules.judge.after": "after it was committed what a piece of samples did to rules",
    "rules.change.before": "before the transaction of a change of a rule commits",
    "rules.change.after": "after the transaction of a change of a rule committed",
    "systems.exchange.before": "before the transaction of a server's report commits",
    "systems.exchange.after": "after the transaction of a server's report committed, before its answer",
    "systems.register.before": "before the transaction of a registration or association commits",
    "systems.register.after": "after the transaction of a registration or association committed",
    "systems.change.before": "before the transaction of another change of a registration commits",
    "systems.change.after": "after the transaction of another change of a registration committed",
    "claim.submit.before": "before the transaction of a claim commits",
    "claim.submit.after": "after the transaction of a claim committed",
    "owning.release.before": "before the transaction of a release, or of what time does, commits",
    "owning.release.after": "after the transaction of a release, or of what time does, committed",
    "owning.transfer.before": "before the transaction of an offer or its answer commits",
    "owning.transfer.after": "after the transaction of an offer or its answer committed",
    "owning.rekey.before": "before the transaction of an answer to a new key commits",
    "owning.rekey.after": "after the transaction of an answer to a new key committed",
    "owning.other.before": "before the transaction of another change of an owned device commits",
    "owning.other.after": "after the transaction of another change of an owned device committed",
    "notify.intake.before": "before the transaction that folds events into alarms commits",
    "notify.intake.after": "after the transaction that folds events into alarms committed",
    "notify.decide.before": "before the transaction that decides about a company's alarms commits",
    "notify.decide.after": "after the transaction that decides about a company's alarms committed",
    "notify.mail.before": "before a mail is handed to the mail server",
    "notify.mail.after": "after the mail server took a mail, before that is stored",
    "notify.channel.before": "before a message is handed to a channel",
    "notify.channel.after": "after a channel took a message, before that is stored",
}
"""Every fault point and where it stands."""

_armed: dict[str, tuple[int, Callable[[str], None]]] = {}


def reach(name: str) -> None:
    """Run what was armed for this point, on its n-th passing."""
    if _armed:
        _pass(name)


def _pass(name: str) -> None:
    found = _armed.get(name)
    if found is None:
        return
    left, action = found
    if left > 1:
        _armed[name] = (left - 1, action)
        return
    del _armed[name]
    action(name)


def arm(name: str, passing: int, action: Callable[[str], None]) -> None:
    """Arm a point for its n-th passing (1 is the next); KeyError where there is no such point."""
    if name not in POINTS:
        raise KeyError(name)
    _armed[name] = (max(1, passing), action)


def disarm() -> None:
    """Forget every armed point."""
    _armed.clear()
