-- Log-in with an account of a partner's portal (OpenID Connect). Who somebody is there: issuer and subject, never
-- the address alone. Small tables, none of which refers to a per-device one. Times are unix milliseconds.
CREATE TABLE partner_identity (
    issuer        text   NOT NULL,
    subject       text   NOT NULL,
    account_id    bigint NOT NULL REFERENCES account,
    email         text   NOT NULL,                   -- as the partner gave it when the two were connected; shown only
    connected_ms  bigint NOT NULL,
    used_ms       bigint NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX partner_identity_account ON partner_identity (account_id, issuer);

-- A sign-up that a partner's log-in began: {issuer, subject, authenticated_ms}. It needs no code.
ALTER TABLE sign_up ADD COLUMN partner jsonb;

-- Which privacy notice was accepted at privacy_ms; empty for those from before notices had versions.
ALTER TABLE account ADD COLUMN privacy_version text NOT NULL DEFAULT '';
