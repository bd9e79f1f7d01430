-- Notifications: which events somebody is told about, whom, by what channel, and what was sent. Events become alarms,
-- alarms become notices, and each notice has a delivery for everybody who gets it. Times are unix milliseconds.

-- Outbox mark. What was stored before this migration is history; what is stored from now on is looked at once.
ALTER TABLE event ADD COLUMN noticed boolean NOT NULL DEFAULT true;
ALTER TABLE event ALTER COLUMN noticed SET DEFAULT false;
CREATE INDEX event_unnoticed ON event (received_ms) WHERE NOT noticed;

-- A place of a company. A device is at one at most, and only within one ownership: its next owner finds none.
CREATE TABLE site (
    site_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id  bigint NOT NULL REFERENCES company,
    name        text   NOT NULL,
    created_ms  bigint NOT NULL,
    UNIQUE (company_id, name)
);
ALTER TABLE ownership ADD COLUMN site_id bigint REFERENCES site;
CREATE INDEX ownership_site ON ownership (site_id) WHERE site_id IS NOT NULL;

-- Queue: companies with something to decide. The row's lock is the lease; look_ms NULL: nothing to do. Also says that
-- the company has been given its first policy.
CREATE TABLE notice_company (
    company_id  bigint PRIMARY KEY REFERENCES company,
    look_ms     bigint,
    created_ms  bigint NOT NULL
);
CREATE INDEX notice_company_due ON notice_company (look_ms) WHERE look_ms IS NOT NULL;

-- Who folds events into alarms locks this row, so that those of one device are folded in their order.
CREATE TABLE notice_intake (intake_id integer PRIMARY KEY CHECK (intake_id = 1));
INSERT INTO notice_intake VALUES (1);

CREATE TABLE notice_channel (
    channel_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id  bigint NOT NULL REFERENCES company,
    kind        text   NOT NULL CHECK (kind IN ('webhook', 'apprise')),
    name        text   NOT NULL,
    shown       text   NOT NULL,                     -- where it goes, without what is secret of the address
    sealed      bytea  NOT NULL DEFAULT '',          -- address and secret, AES-GCM, bound to this channel
    created_ms  bigint NOT NULL,
    ended_ms    bigint
);
CREATE INDEX notice_channel_company ON notice_channel (company_id) WHERE ended_ms IS NULL;

CREATE TABLE notice_policy (
    policy_id         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id        bigint  NOT NULL REFERENCES company,
    name              text    NOT NULL,
    scope             text    NOT NULL CHECK (scope IN ('company', 'site', 'device')),
    scope_id          bigint  NOT NULL DEFAULT 0,    -- number of the site or of the device
    scope_epoch       bigint  NOT NULL DEFAULT 0,    -- of a device's ownership: the policy ends with it
    topics            text[]  NOT NULL,
    delay_s           integer NOT NULL DEFAULT 0,
    recoveries        boolean NOT NULL DEFAULT true,
    quiet_from_min    integer,
    quiet_until_min   integer,
    quiet_zone        text    NOT NULL DEFAULT 'UTC',
    quiet_lets_urgent boolean NOT NULL DEFAULT true,
    escalate_after_s  integer,
    enabled           boolean NOT NULL DEFAULT true,
    created_ms        bigint  NOT NULL,
    ended_ms          bigint
);
CREATE INDEX notice_policy_company ON notice_policy (company_id) WHERE ended_ms IS NULL;

CREATE TABLE notice_target (
    policy_id   bigint  NOT NULL REFERENCES notice_policy,
    step        integer NOT NULL CHECK (step IN (0, 1)),  -- 1: told when nobody has acknowledged in time
    kind        text    NOT NULL CHECK (kind IN ('role', 'account', 'channel')),
    target      text    NOT NULL,                    -- a role, or the number of an account or a channel
    PRIMARY KEY (policy_id, step, kind, target)
);

-- Somebody who has unsubscribed from the mails of a policy.
CREATE TABLE notice_opt_out (
    policy_id   bigint NOT NULL REFERENCES notice_policy,
    account_id  bigint NOT NULL REFERENCES account,
    since_ms    bigint NOT NULL,
    PRIMARY KEY (policy_id, account_id)
);
CREATE INDEX notice_opt_out_account ON notice_opt_out (account_id);

CREATE TABLE maintenance_window (
    window_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id  bigint NOT NULL REFERENCES company,
    scope       text   NOT NULL CHECK (scope IN ('company', 'site', 'device')),
    scope_id    bigint NOT NULL DEFAULT 0,
    scope_epoch bigint NOT NULL DEFAULT 0,
    from_ms     bigint NOT NULL,
    until_ms    bigint NOT NULL CHECK (until_ms > from_ms),
    reason      text   NOT NULL,
    account_id  bigint REFERENCES account,
    created_ms  bigint NOT NULL
);
CREATE INDEX maintenance_window_company ON maintenance_window (company_id, until_ms);

-- cloud/core/notice.py. One row for each topic of a device that ever was: the newest state.
CREATE TABLE alarm (
    device_id   bigint  NOT NULL,
    topic       text    NOT NULL,
    subject     text    NOT NULL DEFAULT '',         -- the rule, where there may be several
    company_id  bigint  NOT NULL,                    -- owner at this epoch
    epoch       bigint  NOT NULL,
    stream      bigint  NOT NULL,
    seq         bigint  NOT NULL,
    began_ms    bigint  NOT NULL,
    ended_ms    bigint,
    changed_ms  bigint  NOT NULL,
    changes     integer NOT NULL,
    once        boolean NOT NULL,
    detail      text    NOT NULL DEFAULT '',
    acked_ms    bigint,
    acked_by    bigint  REFERENCES account,
    ack_reason  text    NOT NULL DEFAULT '',
    settled     boolean NOT NULL DEFAULT false,      -- nobody has to be told anything more about this state
    PRIMARY KEY (device_id, topic, subject)
);
CREATE INDEX alarm_unsettled ON alarm (company_id) WHERE NOT settled;
CREATE INDEX alarm_standing ON alarm (company_id) WHERE ended_ms IS NULL;

-- What the people of a policy believe about an alarm.
CREATE TABLE alarm_told (
    device_id   bigint  NOT NULL,
    topic       text    NOT NULL,
    subject     text    NOT NULL,
    policy_id   bigint  NOT NULL,
    epoch       bigint  NOT NULL,
    standing    boolean NOT NULL,
    changes     integer NOT NULL,
    times_ms    bigint[] NOT NULL,
    raised_ms   bigint  NOT NULL,
    escalated   boolean NOT NULL,
    PRIMARY KEY (device_id, topic, subject, policy_id)
);

CREATE TABLE notice_pace (
    policy_id   bigint NOT NULL REFERENCES notice_policy,
    site_id     bigint NOT NULL,                     -- 0: devices without a site
    times_ms    bigint[] NOT NULL,
    PRIMARY KEY (policy_id, site_id)
);

CREATE TABLE notice (
    notice_id   bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id  bigint  NOT NULL REFERENCES company,
    policy_id   bigint  REFERENCES notice_policy,    -- NULL: a test
    site_id     bigint  NOT NULL DEFAULT 0,
    step        integer NOT NULL DEFAULT 0,
    created_ms  bigint  NOT NULL,
    items       jsonb   NOT NULL                     -- cloud/services/notice_items.py
);
CREATE INDEX notice_created ON notice (company_id, created_ms);

-- One for everybody who gets a notice. A mail waits in the outbox; what goes elsewhere waits here. next_ms is also the
-- lease: whoever takes a delivery moves it on.
CREATE TABLE notice_delivery (
    delivery_id bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_id   bigint  NOT NULL REFERENCES notice ON DELETE CASCADE,
    company_id  bigint  NOT NULL REFERENCES company,
    account_id  bigint  REFERENCES account,
    channel_id  bigint  REFERENCES notice_channel,
    sent_to     text    NOT NULL DEFAULT '',         -- the address it went to
    created_ms  bigint  NOT NULL,
    next_ms     bigint,                              -- NULL: waits in the outbox of mails
    tries       integer NOT NULL DEFAULT 0,
    sent_ms     bigint,
    ended_ms    bigint,                              -- given up, or nothing was left to tell
    error       text    NOT NULL DEFAULT ''
);
CREATE INDEX notice_delivery_due ON notice_delivery (next_ms)
    WHERE next_ms IS NOT NULL AND sent_ms IS NULL AND ended_ms IS NULL;
CREATE INDEX notice_delivery_company ON notice_delivery (company_id, created_ms);
CREATE INDEX notice_delivery_notice ON notice_delivery (notice_id);

-- The mail of a delivery: who it goes to and what it says are looked up again when it is sent.
ALTER TABLE mail ADD COLUMN delivery_id bigint;
CREATE UNIQUE INDEX mail_delivery ON mail (delivery_id) WHERE delivery_id IS NOT NULL;
