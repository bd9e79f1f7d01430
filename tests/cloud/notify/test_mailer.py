"""The outbox sent over a real SMTP connection, with servers that refuse, break off and come back."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.config import Settings
from cloud.core.account import AccountError, Email
from cloud.core.mail import FIRST_PAUSE_MS, GIVE_UP_MS, Mail
from cloud.notify.mailer import KEEP_MS, LEASE_MS, ROUND_MAILS, Mailer, SmtpServer, SmtpTls, compose
from cloud.postgres import outbox
from cloud.postgres.outbox import Parcel
from cloud.postgres.pool import Pool, make_pool
from cloud.provision import provision
from tests.fakes.smtp import SmtpSink, smtp_sink

NOW = 1_800_000_000_000
MAIL = Mail("ada@example.org", "Your code", "The code is 123456.\n.\nBye", "test", NOW)


@dataclass
class Clock:
    """Unix ms that a test sets."""

    now_ms: int = NOW

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Connections to this test's database."""
    async with make_pool(database, name="test", max_size=4) as opened:
        yield opened


def server_of(sink: SmtpSink) -> SmtpServer:
    """How the sink is reached without TLS."""
    return SmtpServer("127.0.0.1", sink.port, "UPS portal <ups@example.org>", SmtpTls.NONE)


async def put(pool: Pool, *mails: Mail) -> None:
    """Write mails as a service does."""
    async with pool.connection() as connection, connection.transaction():
        for mail in mails:
            await outbox.put(connection, mail)


async def rows(pool: Pool) -> list[tuple[object, ...]]:
    """sent_ms, ended_ms, tries, next_ms, text of every mail."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT sent_ms, ended_ms, tries, next_ms, text FROM mail ORDER BY mail_id"
        )
        return await cursor.fetchall()


async def test_a_mail_is_sent_once_and_its_text_is_forgotten(pool: Pool) -> None:
    await put(pool, replace(MAIL, subject="Your\r\nBcc: eve@example.org code", html="<p>Grüße</p>"))
    async with smtp_sink() as sink:
        mailer = Mailer(pool, server_of(sink), Clock())
        assert await mailer.round() == 1
        assert await mailer.round() == 0
    (message,) = sink.messages
    assert message["Subject"] == "Your Bcc: eve@example.org code"
    assert message["Bcc"] is None
    assert message["To"] == "ada@example.org"
    assert message["From"] == "UPS portal <ups@example.org>"
    assert message["Message-ID"].endswith("@example.org>")
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == ["The code is 123456.", ".", "Bye"]
    assert html.get_content().strip() == "<p>Grüße</p>"
    assert await rows(pool) == [(NOW, None, 1, NOW + LEASE_MS, "")]


async def test_a_mail_of_a_transaction_that_failed_does_not_exist(pool: Pool) -> None:
    async def fail() -> None:
        async with pool.connection() as connection, connection.transaction():
            await outbox.put(connection, MAIL)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await rows(pool) == []


async def test_two_senders_share_the_outbox(pool: Pool) -> None:
    await put(pool, *[MAIL] * (ROUND_MAILS + 5))
    one = await outbox.take(pool, now_ms=NOW, lease_ms=LEASE_MS, limit=ROUND_MAILS)
    two = await outbox.take(pool, now_ms=NOW, lease_ms=LEASE_MS, limit=ROUND_MAILS)
    assert (len(one), len(two)) == (ROUND_MAILS, 5)
    assert not {parcel.mail_id for parcel in one} & {parcel.mail_id for parcel in two}
    # Whoever died with them leaves them to the next.
    again = await outbox.take(pool, now_ms=NOW + LEASE_MS, lease_ms=LEASE_MS, limit=100)
    assert len(again) == ROUND_MAILS + 5


@pytest.mark.parametrize(
    ("reply", "ended_ms", "next_ms"),
    [("550 nobody here", NOW, NOW + LEASE_MS), ("450 later", None, NOW + FIRST_PAUSE_MS)],
)
async def test_a_refused_address_does_not_hold_the_others_up(
    pool: Pool, reply: str, ended_ms: int | None, next_ms: int
) -> None:
    await put(pool, replace(MAIL, to_address="eve@example.org"), MAIL)
    async with smtp_sink(refuse={"eve@example.org": reply}) as sink:
        await Mailer(pool, server_of(sink), Clock()).round()
    assert [message["To"] for message in sink.messages] == ["ada@example.org"]
    first, second = await rows(pool)
    assert first[:4] == (None, ended_ms, 1, next_ms)
    assert second[0] == NOW


async def test_an_address_that_fits_no_header_ends_its_mail(pool: Pool) -> None:
    await put(pool, replace(MAIL, to_address="eve@example.org\r\nBcc: all@example.org"), MAIL)
    async with smtp_sink() as sink:
        await Mailer(pool, server_of(sink), Clock()).round()
    assert [message["To"] for message in sink.messages] == ["ada@example.org"]
    assert (await rows(pool))[0][1] == NOW


@pytest.mark.parametrize("ascii_only", [True, False])
async def test_an_address_beyond_ascii_holds_no_other_mail_up(pool: Pool, ascii_only: bool) -> None:
    await put(pool, replace(MAIL, to_address="grüße@example.org"), MAIL)
    async with smtp_sink(ascii_only=ascii_only) as sink:
        await Mailer(pool, server_of(sink), Clock()).round()
    expected = ["ada@example.org"] if ascii_only else ["grüße@example.org", "ada@example.org"]
    assert [message["To"] for message in sink.messages] == expected
    assert (await rows(pool))[0][1] == (NOW if ascii_only else None)


@given(st.text(max_size=40), st.text(max_size=200), st.text(max_size=200))
def test_any_mail_to_an_address_can_be_written(local: str, subject: str, text: str) -> None:
    try:
        address = Email.parse(f"{local}@example.org").value
    except AccountError:
        address = "ada@example.org"
    mail = Mail(address, subject, text, "test", NOW)
    parcel = Parcel(1, address, mail.subject_line, text, None, "test", NOW, None, 1)
    message = compose(parcel, "UPS portal <ups@example.org>")
    content = message.as_bytes()
    assert content.count(b"\nTo:") == 1
    assert b"\nBcc:" not in content.partition(b"\r\n\r\n")[0]


async def test_mails_wait_for_a_server_that_is_away(pool: Pool) -> None:
    clock = Clock()
    await put(pool, MAIL)
    async with smtp_sink() as sink:
        server = server_of(sink)
    mailer = Mailer(pool, server, clock)
    await mailer.round()
    assert (await rows(pool))[0][:4] == (None, None, 1, NOW + FIRST_PAUSE_MS)
    clock.now_ms += FIRST_PAUSE_MS - 1
    assert await mailer.round() == 0
    clock.now_ms += 1
    async with smtp_sink(port=server.port) as back:
        assert await mailer.round() == 1
    assert len(back.messages) == 1


async def test_a_mail_lost_on_the_way_back_keeps_its_number(pool: Pool) -> None:
    """A server that took it and died: sent again, and recognisable by its Message-ID."""
    clock = Clock()
    await put(pool, MAIL)
    async with smtp_sink(drop_after_data=True) as sink:
        mailer = Mailer(pool, server_of(sink), clock)
        await mailer.round()
        sink.drop_after_data = False
        clock.now_ms += FIRST_PAUSE_MS
        await mailer.round()
    assert len(sink.messages) == 2
    assert len({message["Message-ID"] for message in sink.messages}) == 1
    assert (await rows(pool))[0][0] == clock.now_ms


@pytest.mark.parametrize("mail", [replace(MAIL, expires_ms=NOW + 600_000), MAIL])
async def test_an_old_mail_is_given_up(pool: Pool, mail: Mail) -> None:
    await put(pool, mail)
    clock = Clock(NOW + (600_000 if mail.expires_ms else GIVE_UP_MS))
    async with smtp_sink() as sink:
        await Mailer(pool, server_of(sink), clock).round()
    assert sink.messages == []
    assert (await rows(pool))[0][1] == clock.now_ms


async def test_the_mailbox_keeps_what_nobody_sends(pool: Pool) -> None:
    await put(pool, MAIL, replace(MAIL, to_address="eve@example.org", subject="Second"))
    assert await Mailer(pool, None, Clock()).round() == 0
    letters = await outbox.newest(pool)
    assert [letter.subject for letter in letters] == ["Second", "Your code"]
    assert [letter.subject for letter in await outbox.newest(pool, to_address="ADA@example.org")] == [
        "Your code"
    ]
    letter = await outbox.read(pool, letters[1].mail_id)
    assert letter is not None
    assert letter.text == MAIL.text
    assert await outbox.forget(pool, NOW + KEEP_MS) == 2
    assert await outbox.newest(pool) == []


async def test_nothing_is_put_with_the_same_work(pool: Pool) -> None:
    async with pool.connection() as connection:
        await outbox.put_nothing(connection, MAIL)
    assert await outbox.newest(pool) == []
    assert (await rows(pool))[0][4] == ""


@pytest.mark.parametrize("password", ["right", "wrong"])
async def test_log_in_over_starttls_with_an_own_authority(pool: Pool, tmp_path: Path, password: str) -> None:
    provision(Settings(state_dir=tmp_path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server.key")
    (tmp_path / "password").write_text(password + "\n")
    await put(pool, MAIL)
    async with smtp_sink(tls=context, password="right") as sink:
        server = SmtpServer(
            "localhost",
            sink.port,
            "ups@example.org",
            SmtpTls.STARTTLS,
            "ups",
            tmp_path / "password",
            tmp_path / "tls" / "ca.pem",
        )
        await Mailer(pool, replace(server, ca_file=None), Clock()).round()
        assert sink.messages == []  # a server nobody vouches for gets nothing
        await Mailer(pool, server, Clock(NOW + FIRST_PAUSE_MS)).round()
    assert len(sink.messages) == (1 if password == "right" else 0)
    assert (await rows(pool))[0][1] is None
