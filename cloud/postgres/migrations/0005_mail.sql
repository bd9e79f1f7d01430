-- The outbox: a mail is written in the transaction of what it tells about, and sent afterwards, at least once.
-- next_ms is also the lease: whoever takes a mail moves it on, so that a second portal leaves it alone.

CREATE TABLE mail (
    mail_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    to_address  text   NOT NULL,
    subject     text   NOT NULL,
    text        text   NOT NULL,                     -- emptied once the mail is sent: it may hold a code or a link
    html        text,
    kind        text   NOT NULL,
    account_id  bigint REFERENCES account,
    created_ms  bigint NOT NULL,
    expires_ms  bigint,                              -- not worth sending after this
    sent_ms     bigint,
    ended_ms    bigint,                              -- given up: refused for good, or expired
    tries       integer NOT NULL DEFAULT 0,
    next_ms     bigint NOT NULL,
    error       text   NOT NULL DEFAULT ''
);
CREATE INDEX mail_due ON mail (next_ms) WHERE sent_ms IS NULL AND ended_ms IS NULL;
CREATE INDEX mail_created ON mail (created_ms);
