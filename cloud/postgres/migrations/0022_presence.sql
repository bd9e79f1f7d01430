-- Devices that are not heard, told once each, and outages found quickly.

-- A device whose silence was told, until it is heard again.
CREATE TABLE absence (
    device_id  bigint PRIMARY KEY,
    epoch      bigint NOT NULL,
    since_ms   bigint NOT NULL,   -- server's clock when it was heard last
    told_ms    bigint NOT NULL
);

-- Since when gateways have listened without a break: silence of devices counts only from then on.
CREATE TABLE listening (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    since_ms  bigint NOT NULL,
    beat_ms   bigint NOT NULL
);

-- What outages are made of, and what the shown state asks for.
CREATE INDEX event_power ON event (device_id, epoch, ts) WHERE kind IN ('on_battery', 'mains_back', 'low_battery',
    'communication_lost', 'communication_restored');
