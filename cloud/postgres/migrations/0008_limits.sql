-- The places of open claims: what cloud.core.limits counts. A place is taken before the key derivation and named
-- after its claim when that is stored; winning deletes it. No foreign key: a small table of accounts does not
-- refer to per-device tables.
CREATE TABLE claim_place (
    place_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  bigint NOT NULL,
    network     text   NOT NULL,                    -- IPv4 address, or /64 of an IPv6 address
    device_id   bigint,                             -- null while the codes are checked
    claim_id    uuid,
    taken_ms    bigint NOT NULL,
    expires_ms  bigint NOT NULL                     -- free again then, whatever happens
);
CREATE INDEX claim_place_account ON claim_place (account_id);
CREATE INDEX claim_place_network ON claim_place (network);
CREATE INDEX claim_place_expires ON claim_place (expires_ms);
