-- Refused messages go after a while (setting rejected_days). Rows come in the order of their time, so the smallest
-- kind of index finds the old ones, and costs nearly nothing when one is written.

CREATE INDEX rejected_time ON rejected USING brin (ts_ms);
