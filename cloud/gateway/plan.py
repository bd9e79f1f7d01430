"""From what sessions have sent to one batch: what is stored, dropped and refused; without I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cloud.core.batch import build_table, pubacks, sift
from cloud.core.session import Drop, Refusal, judge_epoch
from cloud.core.upload import Fence, Rejection, Upload
from cloud.gateway.session import Session
from cloud.postgres.reported import ReportRow
from cloud.postgres.results import ResultRow
from cloud.postgres.telemetry import Batch, EventRow, RejectedRow
from protocol.codec import decode_event, decode_result
from protocol.columns import Rows, decode_batch
from protocol.errors import DecodeError, Reason
from protocol.mqtt import V5, puback
from protocol.settings import decode_reported
from protocol.topics import UpKind, UpTopic


@dataclass(slots=True, eq=False)
class Share:
    """What one session has in a batch."""

    session: Session
    telemetry: list[Upload] = field(default_factory=list)
    events: list[Upload] = field(default_factory=list)
    results: list[Upload] = field(default_factory=list)
    reports: list[Upload] = field(default_factory=list)
    snapshots: list[Upload] = field(default_factory=list)

    @classmethod
    def of(cls, session: Session, upload: Upload) -> "Share":
        """A share of one upload."""
        share = cls(session)
        share.add(upload)
        return share

    def add(self, upload: Upload) -> None:
        """One more."""
        match upload.topic.kind:
            case UpKind.TELEMETRY:
                self.telemetry.append(upload)
            case UpKind.EVENT:
                self.events.append(upload)
            case UpKind.RESULT:
                self.results.append(upload)
            case UpKind.REPORTED:
                self.reports.append(upload)
            case _:
                self.snapshots.append(upload)

    def uploads(self) -> Iterator[Upload]:
        """All of them."""
        yield from self.telemetry
        yield from self.events
        yield from self.results
        yield from self.reports
        yield from self.snapshots


@dataclass(slots=True)
class Plan:
    """A batch that is ready to be written, and what its commit will mean."""

    batch: Batch
    fences: list[Fence]
    """What to believe of each share's device after the commit."""
    rows: int
    duplicates: int
    rejected: int
    aside: list[tuple[Session, Rejection]]
    """Those of the rejected messages that are kept and logged."""


def make_plan(shares: Sequence[Share], days: frozenset[int], now_ms: int) -> Plan:
    """The batch of these shares, whose sessions all have a fence. ``days`` have a partition."""
    fences = [share.session.fence for share in shares if share.session.fence is not None]
    devices = [share.session.device_id for share in shares]
    uploads: list[Upload] = []
    owner: list[int] = []
    events: list[EventRow] = []
    results: list[ResultRow] = []
    reports: list[ReportRow] = []
    refused: list[Rejection] = []
    snapshots: list[Rows | None] = []
    for i, (share, fence) in enumerate(zip(shares, fences, strict=True)):
        for upload in share.uploads():
            upload.reasons.clear()
        for upload in share.telemetry:
            if _belongs(upload, fence.epoch):
                uploads.append(upload)
                owner.append(i)
        for upload in share.events:
            if _belongs(upload, fence.epoch):
                _read_events(devices[i], upload, now_ms, events, refused)
        for upload in share.results:
            _read_results(devices[i], upload, fence.epoch, now_ms, results, refused)
        for upload in share.reports:
            _read_reports(devices[i], upload, fence.epoch, reports, refused)
        snapshots.append(_newest(share.snapshots, refused))
    sifted = sift(uploads, owner, fences, now_ms)
    refused += sifted.rejections
    table = build_table(sifted, fences, devices, snapshots, now_ms, days)
    aside = _kept_aside(shares, refused, now_ms) if refused else []
    for rejection in refused:
        rejection.upload.reasons[rejection.message] = Reason.PAYLOAD_FORMAT_INVALID
    return Plan(
        Batch(
            now_ms=now_ms,
            device_ids=devices,
            fence=table.fence,
            copies=table.copies,
            events=events,
            results=results,
            reports=reports,
            rejected=[rejected_row(session, rejection, now_ms) for session, rejection in aside],
        ),
        [
            Fence(fence.session_no, fence.epoch, stream, seq)
            for fence, (stream, seq) in zip(fences, table.positions, strict=True)
        ],
        len(sifted.rows),
        sifted.duplicates,
        len(refused),
        aside,
    )


def acknowledge(upload: Upload, version: int) -> Refusal | None:
    """Decide the upload's PUBACKs. MQTT 3.1.1 has no reasons: what is not ours ends the connection there."""
    if not upload.reasons:
        upload.acks = pubacks(upload.ids)
        return None
    if version != V5 and Reason.NOT_AUTHORIZED in upload.reasons.values():
        return Refusal(Reason.NOT_AUTHORIZED, "the epoch is above the device's", ends=True)
    ids = [int.from_bytes(upload.ids[at : at + 2], "big") for at in range(0, len(upload.ids), 2)]
    upload.acks = b"".join(
        puback(packet_id, version, upload.reasons.get(i, Reason.SUCCESS)) for i, packet_id in enumerate(ids)
    )
    return None


def drop_ended(share: Share, epoch: int) -> None:
    """The last ownership (``epoch``) has ended: nothing is stored, as if the session had known it before."""
    for upload in share.uploads():
        upload.reasons.clear()
        if upload.topic.kind in {UpKind.TELEMETRY, UpKind.EVENT}:
            _belongs(upload, epoch, owned=False)
        else:
            upload.reasons.update(dict.fromkeys(range(upload.messages), Reason.NO_MATCHING_SUBSCRIBERS))


def _belongs(upload: Upload, epoch: int, *, owned: bool = True) -> bool:
    """Whether the upload is of the present ownership; otherwise its reasons say what becomes of it."""
    verdict = judge_epoch(upload.topic, epoch, owned=owned)
    if isinstance(verdict, UpTopic):
        return True
    upload.reasons.update(dict.fromkeys(range(upload.messages), _reason_of(verdict)))
    return False


def _reason_of(verdict: Drop | Refusal) -> Reason:
    return verdict.reason if isinstance(verdict, Refusal) else Reason.NO_MATCHING_SUBSCRIBERS


def _read_events(
    device_id: int, upload: Upload, now_ms: int, events: list[EventRow], refused: list[Rejection]
) -> None:
    for i, payload in enumerate(upload.split()):
        try:
            event = decode_event(payload)
        except DecodeError as error:
            refused.append(Rejection(upload, i, error))
            continue
        events.append(
            EventRow(
                device_id=device_id,
                stream=event.stream,
                seq=event.seq,
                epoch=upload.topic.epoch,
                ts_ms=event.ts_ms,
                received_ms=now_ms,
                time_uncertain=event.time_uncertain,
                kind=event.kind.value,
                values=event.values,
            )
        )


def _read_results(
    device_id: int,
    upload: Upload,
    epoch: int,
    now_ms: int,
    results: list[ResultRow],
    refused: list[Rejection],
) -> None:
    """The results of commands of the present ownership; the reasons say what becomes of others."""
    for i, payload in enumerate(upload.split()):
        try:
            result = decode_result(payload)
        except DecodeError as error:
            refused.append(Rejection(upload, i, error))
            continue
        verdict = judge_epoch(UpTopic(upload.topic.kid, UpKind.RESULT, result.epoch), epoch, owned=True)
        if isinstance(verdict, UpTopic):
            results.append(ResultRow(device_id, result, now_ms))
        else:
            upload.reasons[i] = _reason_of(verdict)


def _read_reports(
    device_id: int, upload: Upload, epoch: int, reports: list[ReportRow], refused: list[Rejection]
) -> None:
    """The reports of settings of the present ownership; the reasons say what becomes of others."""
    for i, payload in enumerate(upload.split()):
        try:
            report = decode_reported(payload)
        except DecodeError as error:
            refused.append(Rejection(upload, i, error))
            continue
        verdict = judge_epoch(UpTopic(upload.topic.kid, UpKind.REPORTED, report.epoch), epoch, owned=True)
        if isinstance(verdict, UpTopic):
            reports.append(ReportRow(device_id, report))
        else:
            upload.reasons[i] = _reason_of(verdict)


def _newest(uploads: Sequence[Upload], refused: list[Rejection]) -> Rows | None:
    """The newest snapshot of these."""
    found: Rows | None = None
    for upload in uploads:
        for i, payload in enumerate(upload.split()):
            try:
                found = decode_batch(payload)
            except DecodeError as error:
                refused.append(Rejection(upload, i, error))
    return found


def _kept_aside(
    shares: Sequence[Share], refused: Sequence[Rejection], now_ms: int
) -> list[tuple[Session, Rejection]]:
    """The refused messages that are kept, and whose they are."""
    sessions = {id(upload): share.session for share in shares for upload in share.uploads()}
    kept: list[tuple[Session, Rejection]] = []
    for rejection in refused:
        session = sessions[id(rejection.upload)]
        if session.aside.take(now_ms):
            kept.append((session, rejection))
        else:
            session.not_kept += 1
    return kept


def rejected_row(session: Session, rejection: Rejection, now_ms: int) -> RejectedRow:
    """The row that keeps a refused message."""
    topic = rejection.upload.topic
    return RejectedRow(
        device_id=session.device_id,
        ts_ms=now_ms,
        kid=session.kid,
        topic=f"{topic.kind}/{topic.epoch}/{topic.stream}",
        code=rejection.error.code,
        reason=str(rejection.error),
        payload=rejection.upload.split()[rejection.message],
    )
