-- Requests that a program may send again under the same Idempotency-Key, and their answers. Neither keys nor bodies
-- are here, only keyed hashes of them: a body may hold a secret. Answers hold none. A day later they are forgotten.
CREATE TABLE idempotency (
    account_id   bigint  NOT NULL REFERENCES account,
    key_hash     bytea   NOT NULL,
    fingerprint  bytea   NOT NULL,                  -- of method, path, company and body
    run_id       uuid    NOT NULL,                  -- the request that has the key: only it may write the answer
    lease_ms     bigint  NOT NULL,                  -- until then that request may still be running
    expires_ms   bigint  NOT NULL,
    status       integer,                           -- of the answer; null while there is none
    answer       bytea,
    PRIMARY KEY (account_id, key_hash)
);
CREATE INDEX idempotency_expires ON idempotency (expires_ms);
