-- Sign-up, second factor, reset, companies with members and invitations. Small tables, none of which refers to
-- a per-device one (design section 13). Times are unix milliseconds. Codes and links are stored as hashes only;
-- codes that are short enough to be tried out are hashed with a key that lies outside the database.

ALTER TABLE company
    ADD COLUMN business_type     text NOT NULL DEFAULT '',
    ADD COLUMN area_of_focus     text NOT NULL DEFAULT '',
    ADD COLUMN industry_segment  text NOT NULL DEFAULT '',
    ADD COLUMN address           text NOT NULL DEFAULT '',
    ADD COLUMN city              text NOT NULL DEFAULT '',
    ADD COLUMN zip_code          text NOT NULL DEFAULT '',
    ADD COLUMN location          text NOT NULL DEFAULT '',
    ADD COLUMN state_province    text NOT NULL DEFAULT '',
    ADD COLUMN contact_name      text NOT NULL DEFAULT '',
    ADD COLUMN contact_email     text NOT NULL DEFAULT '',
    ADD COLUMN contact_phone     text NOT NULL DEFAULT '',
    ADD COLUMN closed_ms         bigint;             -- its last member deleted the account

ALTER TABLE account
    ADD COLUMN location          text NOT NULL DEFAULT '',
    ADD COLUMN address           text NOT NULL DEFAULT '',
    ADD COLUMN city              text NOT NULL DEFAULT '',
    ADD COLUMN zip_code          text NOT NULL DEFAULT '',
    ADD COLUMN state_province    text NOT NULL DEFAULT '',
    ADD COLUMN phone             text NOT NULL DEFAULT '',
    ADD COLUMN privacy_ms        bigint,             -- when the privacy notice was accepted
    ADD COLUMN promotions        boolean NOT NULL DEFAULT false,
    ADD COLUMN password_ms       bigint,             -- when the password was last set by its owner
    ADD COLUMN deleted_ms        bigint;             -- the row stays for audit, without anything personal

-- A sign-up on its way: page one, page two, the code. Whoever holds the token of the browser goes on with it.
CREATE TABLE sign_up (
    token_hash     bytea  PRIMARY KEY,               -- SHA-256 of the 256-bit token
    email          text   NOT NULL,
    email_norm     text   NOT NULL,
    known          boolean NOT NULL,                 -- the address has an account: no code ever fits
    password_hash  text   NOT NULL,
    profile        jsonb  NOT NULL,                  -- page one: first_name, last_name, location
    company        jsonb,                            -- page two
    promotions     boolean,
    privacy_ms     bigint,
    invitation_id  bigint,
    created_ms     bigint NOT NULL,
    expires_ms     bigint NOT NULL
);
CREATE INDEX sign_up_expires ON sign_up (expires_ms);

-- Six digits in a mail. One live code per purpose and holder; a new one replaces it.
CREATE TABLE mailed_code (
    purpose     text   NOT NULL,                     -- sign_up, email_change
    holder      bytea  NOT NULL,                     -- whose code it is: the hash of a token
    code_hash   bytea  NOT NULL,                     -- HMAC-SHA256 under the key outside the database
    made_ms     bigint NOT NULL,
    tries       integer NOT NULL DEFAULT 0,
    sends       integer NOT NULL DEFAULT 1,          -- mails so far, for the delay of the next one
    used_ms     bigint,
    PRIMARY KEY (purpose, holder)
);

CREATE TABLE totp (
    account_id     bigint PRIMARY KEY REFERENCES account,
    secret_sealed  bytea  NOT NULL,                  -- AES-GCM, bound to this account
    last_step      bigint NOT NULL DEFAULT 0,        -- the newest time step that was used; only grows
    confirmed_ms   bigint,                           -- until then the second factor is not on
    created_ms     bigint NOT NULL
);

CREATE TABLE recovery_code (
    account_id  bigint NOT NULL REFERENCES account,
    code_hash   bytea  NOT NULL,
    used_ms     bigint,
    PRIMARY KEY (account_id, code_hash)
);

-- A log-in whose password was right and whose second factor is still missing.
CREATE TABLE login_step (
    token_hash  bytea  PRIMARY KEY,
    account_id  bigint NOT NULL REFERENCES account,
    company_id  bigint NOT NULL REFERENCES company,
    tries       integer NOT NULL DEFAULT 0,
    created_ms  bigint NOT NULL,
    expires_ms  bigint NOT NULL
);

CREATE TABLE password_reset (
    token_hash  bytea  PRIMARY KEY,
    account_id  bigint REFERENCES account,           -- NULL: nobody has this address, the link leads nowhere
    created_ms  bigint NOT NULL,
    expires_ms  bigint NOT NULL,
    used_ms     bigint
);
CREATE INDEX password_reset_account ON password_reset (account_id);

CREATE TABLE email_change (
    token_hash  bytea  PRIMARY KEY,
    account_id  bigint NOT NULL UNIQUE REFERENCES account,
    email       text   NOT NULL,
    email_norm  text   NOT NULL,
    known       boolean NOT NULL,                    -- the new address has an account: no code ever fits
    created_ms  bigint NOT NULL,
    expires_ms  bigint NOT NULL
);

CREATE TABLE invitation (
    invitation_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id     bigint NOT NULL REFERENCES company,
    email          text   NOT NULL,
    email_norm     text   NOT NULL,
    role           text   NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'viewer')),
    token_hash     bytea  NOT NULL UNIQUE,
    invited_by     bigint NOT NULL REFERENCES account,
    created_ms     bigint NOT NULL,
    expires_ms     bigint NOT NULL,
    ended_ms       bigint,                           -- accepted, withdrawn, or replaced after it expired
    accepted_by    bigint REFERENCES account
);
CREATE UNIQUE INDEX invitation_open ON invitation (company_id, email_norm) WHERE ended_ms IS NULL;
