-- Accounts, companies, sessions. Small tables, the same on every node of a distributed PostgreSQL; per-device
-- tables may refer to them, never the other way (design section 13). Times are unix milliseconds.

CREATE TABLE company (
    company_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text   NOT NULL,
    created_ms  bigint NOT NULL
);

CREATE TABLE account (
    account_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email             text   NOT NULL,
    email_norm        text   NOT NULL UNIQUE,      -- case-folded: what log-in compares
    password_hash     text   NOT NULL,             -- Argon2id, PHC string
    first_name        text   NOT NULL DEFAULT '',
    last_name         text   NOT NULL DEFAULT '',
    language          text   NOT NULL DEFAULT 'en',
    time_zone         text   NOT NULL DEFAULT 'UTC',
    email_verified_ms bigint,
    disabled_ms       bigint,
    created_ms        bigint NOT NULL
);

CREATE TABLE membership (
    company_id  bigint NOT NULL REFERENCES company,
    account_id  bigint NOT NULL REFERENCES account,
    role        text   NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'viewer')),
    created_ms  bigint NOT NULL,
    PRIMARY KEY (company_id, account_id)
);
CREATE INDEX membership_account ON membership (account_id);

CREATE TABLE web_session (
    session_hash  bytea  PRIMARY KEY,               -- SHA-256 of the 256-bit id in the cookie
    account_id    bigint NOT NULL REFERENCES account,
    company_id    bigint NOT NULL REFERENCES company,
    csrf_key      bytea  NOT NULL,
    created_ms    bigint NOT NULL,
    seen_ms       bigint NOT NULL,
    expires_ms    bigint NOT NULL,                  -- absolute end; the idle end is seen_ms + the idle limit
    factor_ms     bigint,                           -- when a second factor was last shown
    address       text   NOT NULL DEFAULT '',
    user_agent    text   NOT NULL DEFAULT ''
);
CREATE INDEX web_session_account ON web_session (account_id);

-- Growing delays for whoever guesses. Never a lock: next_ms only ever lies a bounded time ahead.
CREATE TABLE attempt (
    scope       text   NOT NULL,                    -- what is guessed: login, claim, …
    subject     text   NOT NULL,                    -- who guesses: account or address
    failures    integer NOT NULL,
    last_ms     bigint NOT NULL,
    PRIMARY KEY (scope, subject)
);

CREATE TABLE account_audit (
    audit_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts_ms       bigint NOT NULL,
    account_id  bigint,
    company_id  bigint,
    kind        text   NOT NULL,
    detail      jsonb  NOT NULL DEFAULT '{}',
    address     text   NOT NULL DEFAULT ''
);
CREATE INDEX account_audit_account ON account_audit (account_id, ts_ms);
