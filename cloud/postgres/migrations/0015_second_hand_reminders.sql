-- How many reminders of a second-hand request its owner had: each goes out once, whatever restarts.
ALTER TABLE matter ADD COLUMN reminded smallint NOT NULL DEFAULT 0;
