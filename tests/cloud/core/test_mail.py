"""When a mail is tried again, and when no more."""

from cloud.core.mail import GIVE_UP_MS, LONGEST_PAUSE_MS, Mail, is_over, pause_ms


def test_the_pause_doubles_up_to_an_hour() -> None:
    assert [pause_ms(tries) for tries in (1, 2, 3)] == [15_000, 30_000, 60_000]
    assert pause_ms(1_000_000) == LONGEST_PAUSE_MS


def test_a_mail_is_given_up_when_it_is_of_no_use() -> None:
    assert not is_over(created_ms=0, expires_ms=None, now_ms=GIVE_UP_MS - 1)
    assert is_over(created_ms=0, expires_ms=None, now_ms=GIVE_UP_MS)
    assert is_over(created_ms=0, expires_ms=600, now_ms=600)
    assert not is_over(created_ms=0, expires_ms=600, now_ms=599)


def test_a_subject_is_one_line() -> None:
    mail = Mail("a@example.org", "One\r\nBcc: two\x00 " + "x" * 500, "", "test", 0)
    assert mail.subject_line.startswith("One Bcc: two xxx")
    assert len(mail.subject_line) == 150
