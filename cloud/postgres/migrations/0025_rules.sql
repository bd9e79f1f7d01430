-- Threshold rules: what a company wants to be told of, where each rule stands on each device, and how far the
-- devices' samples were judged. What a rule does is in cloud/core/rule.py, docs/rules.md.

CREATE TABLE rule (
    rule_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id   bigint NOT NULL REFERENCES company,
    scope        text   NOT NULL CHECK (scope IN ('company', 'site', 'device')),
    scope_id     bigint NOT NULL,                   -- of the company, the site or the device
    epoch        bigint NOT NULL DEFAULT 0,         -- scope device: the ownership that it was made in, and ends with
    version      bigint NOT NULL DEFAULT 1,         -- grows with every change of what it says
    name         text   NOT NULL,
    subject      text   NOT NULL,
    side         text   NOT NULL CHECK (side IN ('above', 'below')),
    threshold    double precision NOT NULL,
    hysteresis   double precision NOT NULL CHECK (hysteresis >= 0),
    hold_ms      bigint NOT NULL CHECK (hold_ms >= 0),
    clear_ms     bigint NOT NULL CHECK (clear_ms >= 0),
    gap_ms       bigint NOT NULL CHECK (gap_ms > 0),
    enabled      boolean NOT NULL DEFAULT true,
    from_ms      bigint NOT NULL,                   -- samples measured earlier are none of its business
    created_ms   bigint NOT NULL,
    changed_ms   bigint NOT NULL,
    account_id   bigint NOT NULL,                   -- who changed it last
    ended_ms     bigint
);
CREATE INDEX rule_company ON rule (company_id) WHERE ended_ms IS NULL;

-- How far a device's samples were judged: by position, and the time of the newest one. The fence of whoever judges.
CREATE TABLE rule_cursor (
    device_id    bigint PRIMARY KEY,
    epoch        bigint NOT NULL,
    stream       bigint NOT NULL,
    seq          bigint NOT NULL,
    ts_ms        bigint NOT NULL
) WITH (fillfactor = 50);

-- Rules that are not "ok" on a device.
CREATE TABLE rule_state (
    device_id    bigint NOT NULL,
    rule_id      bigint NOT NULL REFERENCES rule,
    epoch        bigint NOT NULL,
    version      bigint NOT NULL,                   -- of the rule that it was judged by
    phase        text   NOT NULL CHECK (phase IN ('rising', 'raised', 'falling')),
    since_ms     bigint NOT NULL,
    raised_ms    bigint NOT NULL,
    PRIMARY KEY (device_id, rule_id)
);
CREATE INDEX rule_state_rule ON rule_state (rule_id);

-- When the battery was put in, as its owner says: for rules about its age.
CREATE TABLE battery (
    device_id    bigint NOT NULL,
    epoch        bigint NOT NULL,
    installed_ms bigint NOT NULL,
    changed_ms   bigint NOT NULL,
    account_id   bigint NOT NULL,
    PRIMARY KEY (device_id, epoch)
);

-- The processes that judge, each heard a moment ago: they share the devices by their numbers.
CREATE TABLE rule_worker (
    worker_id    uuid   PRIMARY KEY,
    seen_ms      bigint NOT NULL
);

-- What rules did lately. No device sends these kinds, so its events do not touch this index.
CREATE INDEX event_rule ON event (device_id, ts) WHERE kind IN ('rule_raised', 'rule_cleared');

-- For checks from outside; read only.
CREATE VIEW v_rule AS
    SELECT rule_id, company_id, scope, scope_id, epoch, version, name, subject, side, threshold, hysteresis, hold_ms,
           clear_ms, gap_ms, enabled, from_ms, ended_ms
    FROM rule;
