-- Tokens by which programs act for a person in a company. Only their hash is here. A token ends with the membership
-- it stands on: coming back later makes none of them valid again.
CREATE TABLE api_token (
    token_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash    bytea  NOT NULL UNIQUE,            -- SHA-256 of 240 random bits and their checksum
    company_id    bigint NOT NULL,
    account_id    bigint NOT NULL,
    name          text   NOT NULL,
    scopes        text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_ms    bigint NOT NULL,
    expires_ms    bigint NOT NULL,
    used_ms       bigint,                            -- written down once a minute at most
    used_network  text   NOT NULL DEFAULT '',        -- the IPv4 address, or the /64 of an IPv6 address
    FOREIGN KEY (company_id, account_id) REFERENCES membership ON DELETE CASCADE
);
CREATE INDEX api_token_owner ON api_token (company_id, account_id);
CREATE INDEX api_token_expires ON api_token (expires_ms);
-- The audit trail of a company is read by company, newest first.
CREATE INDEX account_audit_company ON account_audit (company_id, audit_id) WHERE company_id IS NOT NULL;
