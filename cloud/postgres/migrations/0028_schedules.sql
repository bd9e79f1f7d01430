-- Runtime calibrations that come by themselves: an order that a person gave once, tried by the jobs process.

CREATE TABLE calibration_schedule (
    device_id     bigint PRIMARY KEY REFERENCES device,
    epoch         bigint  NOT NULL,                 -- of the ownership it belongs to; void in another one
    company_id    bigint  NOT NULL REFERENCES company,
    account_id    bigint  NOT NULL REFERENCES account,  -- who gave it; void once they may not send commands any more
    every_days    integer NOT NULL,
    due_ms        bigint  NOT NULL,                 -- when the next one is to begin
    try_ms        bigint  NOT NULL,                 -- when it is tried next: later than due where a step was missing
    missing       text    NOT NULL DEFAULT '',      -- the step that the last try lacked, by code
    made_ms       bigint  NOT NULL
);
CREATE INDEX calibration_schedule_try ON calibration_schedule (try_ms);
