"""What a logged-in session sends: every message judged, kept, answered or refused, in the order it came."""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from cloud.core.batch import Template, match_run
from cloud.core.manifest import ManifestMode
from cloud.core.session import (
    UNOWNED_MAX_BYTES,
    AckQueue,
    Drop,
    Entry,
    Refusal,
    judge_flags,
    judge_subscribe,
    judge_topic,
)
from cloud.core.upload import Upload
from cloud.gateway.announcing import announce
from cloud.gateway.session import Link, Session
from protocol.errors import Reason
from protocol.mqtt import (
    V5,
    MqttError,
    Property,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    encode,
    puback,
)
from protocol.topics import UpKind, UpTopic, control

if TYPE_CHECKING:
    from cloud.gateway.gateway import Gateway

QUOTA: Final = Refusal(
    Reason.QUOTA_EXCEEDED, "more or larger messages than announcements and a device without owner may have"
)


class Carrier(Link, Protocol):
    """The connection as the intake needs it."""

    def refuse(self, refusal: Refusal) -> None:
        """End the connection over something the peer did."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this beside the reading; it ends with the connection."""


class Intake:
    """The messages of one session. Event loop only."""

    def __init__(self, gateway: "Gateway", session: Session, carrier: Carrier) -> None:
        self._gateway = gateway
        self._session = session
        self._carrier = carrier
        self._window = gateway.settings.receive_maximum
        self._acks = AckQueue()
        self._template: Template | None = None
        self._order = asyncio.Lock()

    @property
    def room(self) -> int:
        """Messages that may still come before one is acknowledged."""
        return self._window - self._acks.unacknowledged

    def ready(self) -> bytes:
        """PUBACKs that may leave."""
        return self._acks.ready()

    def forget_template(self) -> None:
        """Judge the next message anew."""
        self._template = None

    # --- publish --------------------------------------------------------------------------------------------

    def take_run(self, buffer: bytes, at: int) -> int:
        """Take as many messages like the last one as begin at ``at``; how many bytes that was."""
        template = self._template
        if template is None or len(buffer) - at < template.size or self.room <= 0:
            return 0
        count, ids, payloads = match_run(template, buffer, at, self.room)
        if count:
            self._store(
                Upload(
                    count,
                    topic=template.topic,
                    ids=ids,
                    joined=payloads,
                    size=template.size - template.payload_at,
                    messages=count,
                )
            )
        return count * template.size

    def take_publish(self, publish: Publish, head: bytes, size: int) -> None:
        """Judge one message. ``head`` is its packet's fixed header, ``size`` the packet's."""
        session = self._session
        refusal = judge_flags(publish)
        if refusal is None and Property.TOPIC_ALIAS in publish.properties:
            refusal = Refusal(Reason.TOPIC_ALIAS_INVALID, "topic aliases are not offered", ends=True)
        if refusal is not None:
            self._carrier.refuse(refusal)
            return
        verdict = judge_topic(session.kid, publish.topic, session.standing)
        announces = isinstance(verdict, UpTopic) and verdict.kind is UpKind.ANNOUNCE
        if (announces or not session.standing.owned) and not self._within_quota(publish):
            verdict = QUOTA
        match verdict:
            case Drop():
                self._gateway.metrics.dropped.inc()
                self._answer(publish, Reason.NO_MATCHING_SUBSCRIBERS)
            case Refusal():
                self._refuse(publish, verdict)
            case UpTopic(kind=UpKind.ANNOUNCE):
                self._announce(publish)
            case UpTopic():
                self._keep(verdict, publish, head, size)

    def _within_quota(self, publish: Publish) -> bool:
        now_ms = time.monotonic_ns() // 1_000_000
        return len(publish.payload) <= UNOWNED_MAX_BYTES and self._session.quota.take(now_ms)

    def _refuse(self, publish: Publish, refusal: Refusal) -> None:
        """MQTT 5 has a reason in the PUBACK; with 3.1.1 the connection ends."""
        if self._session.version == V5:
            self._gateway.refused(self._session, refusal, self._session.peer)
            self._answer(publish, refusal.reason)
        else:
            self._carrier.refuse(refusal)

    def _answer(self, publish: Publish, reason: Reason) -> None:
        """Acknowledge at once, in turn."""
        if publish.qos:
            self._acks.add(Entry(1, puback(publish.packet_id, self._session.version, reason)))

    def _keep(self, topic: UpTopic, publish: Publish, head: bytes, size: int) -> None:
        if (
            not publish.qos and self._session.waiting >= self._window
        ):  # QoS 1 is bound by the acknowledgements
            self._gateway.metrics.dropped.inc()
            return
        if topic.kind is UpKind.TELEMETRY and publish.qos and publish.payload and not publish.properties:
            name = publish.topic.encode()
            prefix = head + len(name).to_bytes(2, "big") + name
            payload_at = size - len(publish.payload)
            self._template = Template(topic, prefix, size, payload_at, self._session.version == V5)
        ids = publish.packet_id.to_bytes(2, "big") if publish.qos else b""
        self._store(Upload(publish.qos, topic=topic, ids=ids, payloads=[publish.payload], messages=1))

    def _store(self, upload: Upload) -> None:
        if upload.count:
            self._acks.add(upload)
        self._gateway.store(self._session, upload)

    # --- announce -------------------------------------------------------------------------------------------

    def _announce(self, publish: Publish) -> None:
        entry = Entry(1)
        if publish.qos:
            self._acks.add(entry)
        self._carrier.spawn(self._take_note(publish, entry))

    async def _take_note(self, publish: Publish, entry: Entry) -> None:
        session = self._session
        async with self._order:
            outcome = await announce(
                self._gateway.pool, session, publish.payload, ManifestMode(self._gateway.settings.manifest)
            )
        self._gateway.metrics.announcements.labels(outcome.name).inc()
        refusal = outcome.refusal
        if refusal is not None and (refusal.ends or session.version != V5):
            self._carrier.refuse(refusal)
            return
        if refusal is not None:
            self._gateway.refused(session, refusal, session.peer)
        entry.acks = puback(publish.packet_id, session.version, outcome.reason)
        self._carrier.flush()
        if refusal is None:
            session.announced_s = time.monotonic()
            self._gateway.hub.look_at(session)

    # --- subscribe ------------------------------------------------------------------------------------------

    def subscribe(self, subscribe: Subscribe) -> None:
        """Grant the own control topic, and say hello on it."""
        session = self._session
        if Property.SUBSCRIPTION_ID in subscribe.properties:
            raise MqttError(Reason.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "No subscription identifiers.")
        codes = judge_subscribe(session.kid, subscribe, session.version)
        self._carrier.send(encode(SubAck(subscribe.packet_id, codes), session.version))
        for (name, _options), code in zip(subscribe.filters, codes, strict=True):
            if code:
                refusal = Refusal(Reason(code), f"a device subscribes to its control topic only, not {name}")
                self._gateway.refused(session, refusal, session.peer)
        if 0 in codes:
            session.subscribed = True
            session.say(session.voice.key_set)
            self._gateway.hub.greet(session)

    def unsubscribe(self, unsubscribe: Unsubscribe) -> None:
        """Say no more, if it is about the control topic."""
        session = self._session
        own = control(session.kid)
        codes: list[int] = []
        for name in unsubscribe.filters:
            known = session.subscribed and name == own
            codes.append(0 if known else Reason.NO_SUBSCRIPTION_EXISTED)
            session.subscribed = session.subscribed and not known
        answer = UnsubAck(unsubscribe.packet_id, tuple(codes) if session.version == V5 else ())
        self._carrier.send(encode(answer, session.version))
