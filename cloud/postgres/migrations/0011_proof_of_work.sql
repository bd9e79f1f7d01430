-- Challenges of "I am not a robot" that were used, until they expire: each is good for one use. Unused ones are
-- written nowhere, so asking for them costs no row.
CREATE TABLE used_challenge (
    challenge_hash  bytea  PRIMARY KEY,              -- SHA-256 of the challenge
    expires_ms      bigint NOT NULL
);
CREATE INDEX used_challenge_expires ON used_challenge (expires_ms);
