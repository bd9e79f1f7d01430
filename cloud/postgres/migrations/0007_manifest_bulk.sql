-- What a maker has shipped, and claims of many devices at once.

CREATE TABLE manifest (
    device_id     bigint PRIMARY KEY,               -- protocol.identity.device_id_of(product_id, label_pub)
    product_id    text   NOT NULL,
    label_pub     bytea  NOT NULL CHECK (octet_length(label_pub) = 32),
    factory_pub   bytea  CHECK (octet_length(factory_pub) = 32),  -- the device key it left the factory with
    added_ms      bigint NOT NULL
);

-- A bulk job. The codes themselves are in the memory of the process that took them, never here.
CREATE TABLE bulk_job (
    job_id        uuid   PRIMARY KEY,
    company_id    bigint NOT NULL REFERENCES company,
    account_id    bigint NOT NULL REFERENCES account,
    state         text   NOT NULL CHECK (state IN ('running', 'done', 'interrupted')),
    rows          integer NOT NULL,
    created_ms    bigint NOT NULL,
    lease_ms      bigint NOT NULL,                  -- renewed by the process that holds the codes
    ended_ms      bigint
);
CREATE INDEX bulk_job_company ON bulk_job (company_id, created_ms);
CREATE INDEX bulk_job_running ON bulk_job (lease_ms) WHERE state = 'running';

CREATE TABLE bulk_row (
    job_id        uuid    NOT NULL REFERENCES bulk_job ON DELETE CASCADE,
    line          integer NOT NULL,                 -- of the list as it was given, from 1
    product_id    text    NOT NULL,                 -- empty where the line holds none: it may be a secret
    result        text    NOT NULL,                 -- cloud.core.bulk.Result
    claim_id      uuid,
    PRIMARY KEY (job_id, line)
);
