-- Devices, their keys, claims and owners. device_id leads every key, unique index and conflict target, so that
-- one device is one shard (design section 13). Whoever changes a device locks its row in "device" first.

CREATE TABLE device (
    device_id     bigint PRIMARY KEY,               -- protocol.identity.device_id_of(product_id, label_pub)
    product_id    text   NOT NULL,
    label_pub     bytea  NOT NULL,
    last_epoch    bigint NOT NULL DEFAULT 0,        -- of the last ownership; only grows
    version       bigint NOT NULL DEFAULT 0,        -- grows with every change that a hello or a page shows
    model         text   NOT NULL DEFAULT '',
    sku           text   NOT NULL DEFAULT '',
    serial        text   NOT NULL DEFAULT '',
    firmware      text   NOT NULL DEFAULT '',
    rated_real_power_w       integer NOT NULL DEFAULT 0,
    rated_apparent_power_va  integer NOT NULL DEFAULT 0,
    created_ms    bigint NOT NULL
);
CREATE INDEX device_product ON device (product_id);

CREATE TABLE device_key (
    device_id     bigint NOT NULL REFERENCES device,
    kid           text   NOT NULL,
    device_pub    bytea  NOT NULL,
    state         text   NOT NULL CHECK (state IN ('candidate', 'bound', 'revoked')),
    login_ms      bigint NOT NULL,                  -- iat of the newest accepted log-in; only grows
    announced_ms  bigint NOT NULL,                  -- server's clock at the newest announcement
    smartconnect  boolean NOT NULL,
    request       text   NOT NULL DEFAULT 'none',
    announcement  bytea  NOT NULL,                  -- the sealed announcement, as received
    created_ms    bigint NOT NULL,
    PRIMARY KEY (device_id, kid)
);
CREATE UNIQUE INDEX device_key_bound ON device_key (device_id) WHERE state = 'bound';

CREATE TABLE claim (
    device_id     bigint NOT NULL REFERENCES device,
    claim_id      uuid   NOT NULL,
    company_id    bigint NOT NULL REFERENCES company,
    account_id    bigint NOT NULL REFERENCES account,
    state         text   NOT NULL CHECK (state IN ('pending', 'won', 'refused', 'expired', 'cancelled')),
    reason        text   NOT NULL DEFAULT '',       -- stable code of why it was refused
    picked_kid    text,                             -- the key that the claimant picked by its fingerprint
    created_ms    bigint NOT NULL,
    expires_ms    bigint NOT NULL,
    decided_ms    bigint,
    PRIMARY KEY (device_id, claim_id)
);
CREATE UNIQUE INDEX claim_pending ON claim (device_id, company_id) WHERE state = 'pending';
CREATE INDEX claim_company ON claim (company_id, created_ms);

CREATE TABLE ownership (
    device_id     bigint NOT NULL REFERENCES device,
    epoch         bigint NOT NULL,                  -- max(last + 1, unix ms)
    company_id    bigint NOT NULL REFERENCES company,
    account_id    bigint NOT NULL REFERENCES account,
    kid           text   NOT NULL,
    from_ms       bigint NOT NULL,
    until_ms      bigint,
    name          text   NOT NULL DEFAULT '',
    description   text   NOT NULL DEFAULT '',
    time_zone     text   NOT NULL DEFAULT 'UTC',
    PRIMARY KEY (device_id, epoch)
);
-- The rule of the product: one device, one live owner.
CREATE UNIQUE INDEX ownership_live ON ownership (device_id) WHERE until_ms IS NULL;
CREATE INDEX ownership_company ON ownership (company_id) WHERE until_ms IS NULL;

CREATE TABLE device_audit (
    device_id     bigint NOT NULL,
    audit_id      bigint GENERATED ALWAYS AS IDENTITY,
    ts_ms         bigint NOT NULL,
    kind          text   NOT NULL,
    epoch         bigint,
    company_id    bigint,
    account_id    bigint,
    kid           text,
    detail        jsonb  NOT NULL DEFAULT '{}',
    PRIMARY KEY (device_id, audit_id)
);
