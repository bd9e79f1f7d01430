-- The claims a company waits for, newest first; the decided ones, which stay, are not read for it.
CREATE INDEX claim_open ON claim (company_id, created_ms DESC, claim_id) WHERE state = 'pending';
