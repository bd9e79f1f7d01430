-- Passkeys (WebAuthn) beside the time-based codes, companies that ask all their members for a second factor, and
-- invitations that are sent again. Small tables, none of which refers to a per-device one. Times are unix ms.

CREATE TABLE passkey (
    passkey_id     bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id     bigint  NOT NULL REFERENCES account,
    credential_id  bytea   NOT NULL UNIQUE,
    public_key     bytea   NOT NULL,                 -- COSE_Key, as the authenticator gave it
    sign_count     bigint  NOT NULL,                 -- the newest one shown; only grows, or stays 0 for ever
    transports     text[]  NOT NULL DEFAULT '{}',    -- how browsers find it again: internal, usb, hybrid, …
    name           text    NOT NULL,
    rp_id          text    NOT NULL,                 -- the host it was made for; it works nowhere else
    created_ms     bigint  NOT NULL,
    used_ms        bigint
);
CREATE INDEX passkey_account ON passkey (account_id);

-- What an authenticator is to sign next: one per purpose and holder, gone once it was answered.
CREATE TABLE passkey_challenge (
    purpose      text   NOT NULL CHECK (purpose IN ('register', 'log_in', 'step_up')),
    holder       bytea  NOT NULL,                    -- the hash of the log-in, or of the log-in's step
    challenge    bytea  NOT NULL,
    expires_ms   bigint NOT NULL,
    PRIMARY KEY (purpose, holder)
);

ALTER TABLE company
    ADD COLUMN factor_since_ms bigint,               -- since when all members need a second factor; NULL: they do not
    ADD COLUMN factor_grace_ms bigint NOT NULL DEFAULT 0;

-- Which second factors an account has. An app counts once it was confirmed.
CREATE VIEW account_factor AS
SELECT account_id, app, passkey, app OR passkey AS two_factor
  FROM (SELECT a.account_id,
               EXISTS (SELECT 1 FROM totp t
                        WHERE t.account_id = a.account_id AND t.confirmed_ms IS NOT NULL) AS app,
               EXISTS (SELECT 1 FROM passkey p WHERE p.account_id = a.account_id) AS passkey
          FROM account a) found;

-- From when on a member is let in only to set up a second factor; NULL where none is asked for, or there is one.
CREATE VIEW member_factor AS
SELECT company_id, account_id,
       CASE WHEN c.factor_since_ms IS NOT NULL AND NOT f.two_factor
            THEN greatest(c.factor_since_ms, m.created_ms) + c.factor_grace_ms END AS factor_due_ms
  FROM membership m JOIN company c USING (company_id) JOIN account_factor f USING (account_id);

ALTER TABLE invitation
    ADD COLUMN ended_how text CHECK (ended_how IN ('accepted', 'withdrawn', 'expired'));

-- Further mails of an invitation, each with a link of its own; that of the first is in the invitation.
CREATE TABLE invitation_link (
    token_hash     bytea  PRIMARY KEY,
    invitation_id  bigint NOT NULL REFERENCES invitation,
    sent_ms        bigint NOT NULL
);
CREATE INDEX invitation_link_invitation ON invitation_link (invitation_id);
