-- Building systems: servers by their System ID, registrations by their number, who holds which slot of one, what is
-- registered and who changed it. What may be done is in cloud/core/system.py; docs/systems.md. A server is one shard by
-- its system_id, a registration one by its number; what concerns both locks servers first, then registrations, each in
-- order (docs/decisions/0036-registrations-and-servers.md).

-- Every System ID that has proven itself, by its own connection or by a request of it.
CREATE TABLE system_server (
    system_id         text    PRIMARY KEY CHECK (length(system_id) = 43),
    number            bigint,                       -- of the registration it has; one at most
    retired_ms        bigint,                       -- another System ID took its place, for good
    first_ms          bigint  NOT NULL,
    counter           bigint  NOT NULL DEFAULT 0,   -- of its last report; only grows
    seen_ms           bigint  NOT NULL DEFAULT 0,   -- 0: never heard over a connection of its own
    kind              text    NOT NULL DEFAULT 'standalone' CHECK (kind IN ('enterprise_server', 'standalone')),
    name              text    NOT NULL DEFAULT '',
    product_version   text    NOT NULL DEFAULT '',
    licences          jsonb   NOT NULL DEFAULT '[]',
    uptime_s          bigint  NOT NULL DEFAULT 0,
    attached_to       text    NOT NULL DEFAULT '',  -- its own word; counts where system_member has it, too
    attached_counter  bigint  NOT NULL DEFAULT 0,
    ticket_hash       bytea,                        -- SHA-256 of what the link for "Register now" holds
    ticket_until_ms   bigint  NOT NULL DEFAULT 0,
    told_version      bigint  NOT NULL DEFAULT 0,   -- of the state it was told last; only grows
    told_hash         bytea,
    CHECK (number IS NULL OR retired_ms IS NULL)
);

CREATE INDEX system_server_stranger ON system_server (first_ms) WHERE number IS NULL AND retired_ms IS NULL;

-- Servers that an Enterprise Server says are attached to it.
CREATE TABLE system_member (
    system_id         text    NOT NULL REFERENCES system_server,
    member_id         text    NOT NULL,
    PRIMARY KEY (system_id, member_id)
);
CREATE INDEX system_member_member ON system_member (member_id);

-- Somebody typed this System ID. It holds nothing until the server says yes; several wait side by side.
CREATE TABLE system_intent (
    system_id         text    NOT NULL,
    intent_id         uuid    NOT NULL,
    company_id        bigint  NOT NULL REFERENCES company,
    account_id        bigint  NOT NULL REFERENCES account,
    slot              text    NOT NULL CHECK (slot IN ('integrator', 'end_user')),
    operation         smallint NOT NULL CHECK (operation IN (1, 2)),
    number            bigint,                       -- of the registration to associate with
    replaces          text    NOT NULL DEFAULT '',  -- the System ID it had when that was asked
    state             text    NOT NULL DEFAULT 'waiting' CHECK (state IN
                          ('waiting', 'done', 'declined', 'refused', 'cancelled', 'expired')),
    reason            text    NOT NULL DEFAULT '',
    created_ms        bigint  NOT NULL,
    expires_ms        bigint  NOT NULL,
    decided_ms        bigint,
    PRIMARY KEY (system_id, intent_id)
);
CREATE UNIQUE INDEX system_intent_open ON system_intent (system_id, company_id) WHERE state = 'waiting';
CREATE INDEX system_intent_company ON system_intent (company_id) WHERE state = 'waiting';

-- Requests for an offline code that were answered, so that the same one gets the same answer.
CREATE TABLE system_request (
    system_id         text    NOT NULL REFERENCES system_server,
    nonce             bytea   NOT NULL,
    operation         smallint NOT NULL,
    number            bigint  NOT NULL,
    company_id        bigint  NOT NULL REFERENCES company,
    code              text    NOT NULL,
    day               integer NOT NULL,             -- the last one it is taken on, since 1970 (UTC)
    made_ms           bigint  NOT NULL,
    PRIMARY KEY (system_id, nonce)
);

-- What a server's people are told with its state.
CREATE TABLE system_notice (
    system_id         text    NOT NULL,
    notice_no         bigint  GENERATED ALWAYS AS IDENTITY,
    ts_ms             bigint  NOT NULL,
    code              text    NOT NULL,
    detail            jsonb   NOT NULL DEFAULT '{}',
    PRIMARY KEY (system_id, notice_no)
);

-- UPSs under a server: each one's own word for it, by its device key.
CREATE TABLE system_ups (
    device_id         bigint  PRIMARY KEY,
    system_id         text    NOT NULL,
    kid               text    NOT NULL,
    said_ms           bigint  NOT NULL
);
CREATE INDEX system_ups_system ON system_ups (system_id);

-- A registration. It outlives System IDs: a new one takes the old one's place.
CREATE TABLE registration (
    number            bigint  PRIMARY KEY CHECK (number >= 0 AND number < 1 << 30),
    system_id         text    NOT NULL,
    lead_number       bigint  CHECK (lead_number <> number),
    information_ms    bigint,                       -- when the end-user agreed to share system information
    personal_ms       bigint,                       -- … and personal information
    end_user_edited   boolean NOT NULL DEFAULT false,
    share_ups         boolean NOT NULL DEFAULT false,   -- the end-user lets the integrator see the UPSs
    created_ms        bigint  NOT NULL,
    changed_ms        bigint  NOT NULL,
    ended_ms          bigint
);
CREATE INDEX registration_lead ON registration (lead_number) WHERE lead_number IS NOT NULL;

-- Who holds which slot, and who did. At most one integrator and one end-user at a time: the index decides every race.
CREATE TABLE registration_slot (
    number            bigint  NOT NULL REFERENCES registration,
    slot_no           bigint  GENERATED ALWAYS AS IDENTITY,
    slot              text    NOT NULL CHECK (slot IN ('integrator', 'end_user')),
    company_id        bigint  NOT NULL REFERENCES company,
    account_id        bigint  NOT NULL REFERENCES account,
    from_ms           bigint  NOT NULL,
    until_ms          bigint,
    PRIMARY KEY (number, slot_no)
);
CREATE UNIQUE INDEX registration_one_holder ON registration_slot (number, slot) WHERE until_ms IS NULL;
CREATE INDEX registration_slot_company ON registration_slot (company_id) WHERE until_ms IS NULL;

CREATE TABLE registration_field (
    number            bigint  NOT NULL REFERENCES registration,
    field             text    NOT NULL,
    value             text    NOT NULL,
    PRIMARY KEY (number, field)
);

-- A slot offered to somebody: the free one (invite) or one's own (hand_over). Answered through a mailed link.
CREATE TABLE registration_offer (
    number            bigint  NOT NULL REFERENCES registration,
    offer_id          uuid    NOT NULL,
    slot              text    NOT NULL CHECK (slot IN ('integrator', 'end_user')),
    kind              text    NOT NULL CHECK (kind IN ('invite', 'hand_over')),
    company_id        bigint  NOT NULL REFERENCES company,
    account_id        bigint  NOT NULL REFERENCES account,
    to_email          text    NOT NULL,
    secret_hash       bytea   NOT NULL,
    state             text    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'declined', 'withdrawn', 'void')),
    created_ms        bigint  NOT NULL,
    expires_ms        bigint  NOT NULL,
    closed_ms         bigint,
    PRIMARY KEY (number, offer_id)
);
CREATE UNIQUE INDEX registration_offer_open ON registration_offer (number, slot) WHERE state = 'open';

-- Who changed what when, field by field.
CREATE TABLE registration_audit (
    number            bigint  NOT NULL REFERENCES registration,
    audit_no          bigint  GENERATED ALWAYS AS IDENTITY,
    ts_ms             bigint  NOT NULL,
    kind              text    NOT NULL,
    field             text    NOT NULL DEFAULT '',
    before            text    NOT NULL DEFAULT '',
    after             text    NOT NULL DEFAULT '',
    company_id        bigint,
    account_id        bigint,
    PRIMARY KEY (number, audit_no)
);

-- For checks from outside; read only.
CREATE VIEW v_registration AS
    SELECT r.number, r.system_id, r.lead_number, r.information_ms, r.personal_ms, r.end_user_edited, r.created_ms,
           r.ended_ms, s.slot, s.company_id, s.from_ms, s.until_ms
    FROM registration r LEFT JOIN registration_slot s USING (number);
CREATE VIEW v_system AS
    SELECT system_id, number, retired_ms, kind, attached_to, counter, seen_ms FROM system_server;
