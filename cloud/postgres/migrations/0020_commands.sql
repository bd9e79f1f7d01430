-- Commands to devices (design section 6). A row is made under the device's lock with everything that was checked, and
-- holds the signed bytes as they are delivered: the gateway has no key to make others.

ALTER TABLE device ADD COLUMN last_counter bigint NOT NULL DEFAULT 0;   -- of the last command; max(last + 1, unix ms)

CREATE TABLE command (
    device_id     bigint NOT NULL REFERENCES device,
    command_id    uuid   NOT NULL,
    epoch         bigint NOT NULL,                  -- of the ownership it belongs to
    kid           text   NOT NULL,                  -- the only key that may get it
    counter       bigint NOT NULL,
    kind          text   NOT NULL,                  -- cloud.core.command.Kind
    arguments     jsonb  NOT NULL,
    sealed        bytea  NOT NULL,                  -- protocol.signing.seal_control
    state         text   NOT NULL DEFAULT 'requested' CHECK (state IN
                      ('requested', 'delivered', 'done', 'failed', 'refused', 'expired', 'unknown')),
    company_id    bigint NOT NULL REFERENCES company,
    account_id    bigint NOT NULL REFERENCES account,
    issued_ms     bigint NOT NULL,
    expires_ms    bigint NOT NULL,                  -- 60 s later at most; not delivered and not begun after it
    due_ms        bigint,                           -- when time alone ends it; null once it has ended
    delivered_ms  bigint,
    session_no    bigint,                           -- iat of the log-in whose session it was handed to, once
    ended_ms      bigint,
    reported_ms   bigint,                           -- the device's clock in its result; null without one
    code          text   NOT NULL DEFAULT '',       -- stable word of the result
    detail        text   NOT NULL DEFAULT '',
    PRIMARY KEY (device_id, command_id),
    UNIQUE (device_id, counter)
);
CREATE INDEX command_waiting ON command (device_id) WHERE state = 'requested';
CREATE INDEX command_due ON command (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX command_history ON command (device_id, epoch, counter);

-- For checks from outside; read only.
CREATE VIEW v_command AS
    SELECT device_id, command_id, epoch, kid, counter, kind, arguments, state, company_id, account_id, issued_ms,
           expires_ms, delivered_ms, session_no, ended_ms, reported_ms, code, detail
    FROM command;
